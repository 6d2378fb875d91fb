/* Many threads at once, and what one thread does to the calls of another. */
#include "support.h"

enum { THREADS = 16, ROUNDS = 20 };

static void *call_in_every_way(void *argument) {
    OmniClient *client = argument;
    for (int i = 0; i < ROUNDS; i++) {
        char request[128], wanted[64], *out = NULL;
        int number = (int)((size_t)&request % 1000) * 100 + i;
        snprintf(request, sizeof request, ASK("number %d"), number);
        snprintf(wanted, sizeof wanted, "\"content\":\"number %d\"", number);
        CHECK(omni_chat(client, request, &out) == OMNI_CODE_OK && has(out, wanted));
        omni_string_free(out);

        OmniStream *stream = omni_stream_open(client, request);
        int lasts = 0;
        while (omni_stream_next(stream, -1, &out) == OMNI_NEXT_EVENT) {
            lasts += is(out, "done") && has(out, wanted);
            omni_string_free(out);
        }
        CHECK(lasts == 1 && omni_stream_free(stream) == OMNI_CODE_OK);

        CHECK(omni_chat(client, "wrong", &out) == OMNI_CODE_INVALID_REQUEST);
        snprintf(request, sizeof request, "{\"no%d\": 1}", number);
        CHECK(omni_init(request) == NULL);
        snprintf(wanted, sizeof wanted, "no%d", number);
        CHECK(has(omni_last_error(), wanted)); /* this thread's own error */
    }
    return NULL;
}

static void many_threads_share_one_client(void) {
    OmniClient *client = client_of(ECHO);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        threads[i] = run(call_in_every_way, client);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void *make_and_end_a_client(void *argument) {
    (void)argument;
    OmniClient *client = client_of(ECHO);
    char *reply = NULL;
    CHECK(omni_chat(client, ASK("x"), &reply) == OMNI_CODE_OK);
    omni_string_free(reply);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_INVALID_REQUEST);
    return NULL;
}

static void clients_come_and_go_on_many_threads(void) {
    for (int round = 0; round < 5; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            threads[i] = run(make_and_end_a_client, NULL);
        }
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        }
    }
}

static void count(OmniStream *stream, const char *event, void *user_data) {
    (void)stream;
    if (is(event, "start")) {
        sem_post(user_data);
    }
}

struct call {
    OmniClient *client;
    OmniCode code;
};

static void *chat_that_hangs(void *argument) {
    struct call *call = argument;
    char *reply = NULL;
    call->code = omni_chat(call->client, ASK("x"), &reply);
    CHECK(reply == NULL && failed(omni_code_name(call->code), ""));
    return NULL;
}

static void a_shutdown_ends_calls_of_other_threads_and_waits_for_them(void) {
    OmniClient *client = client_of(HOLD);
    struct call calls[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        calls[i] = (struct call){client, OMNI_CODE_OK};
        threads[i] = run(chat_that_hangs, &calls[i]);
    }
    sem_t started;
    CHECK(sem_init(&started, 0, 0) == 0);
    OmniStream *stream = omni_stream_start(client, ASK("x"), count, &started);
    await(&started);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        /* Cancelled in the middle; or the thread came so late that the client was gone. */
        CHECK(calls[i].code == OMNI_CODE_CANCELLED || calls[i].code == OMNI_CODE_INVALID_REQUEST);
    }
    sem_destroy(&started);
}

int main(void) {
    RUN(many_threads_share_one_client);
    RUN(clients_come_and_go_on_many_threads);
    RUN(a_shutdown_ends_calls_of_other_threads_and_waits_for_them);
    return 0;
}
