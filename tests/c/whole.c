/* The whole way: an engine in this process or behind a bridge_url, and a provider on loopback. It says what came, line
   by line.

   whole CONFIG REQUEST SLOW_REQUEST: SLOW_REQUEST's answer takes so long that there is time to cancel it. Ends with
   exit code 7 in the middle of a stream; the last line is the time of that. */
#include "support.h"

#include <time.h>

struct cancelled {
    sem_t ended;
    int deltas;
};

static void cancel_at_the_first_text(OmniStream *stream, const char *event, void *user_data) {
    struct cancelled *cancelled = user_data;
    if (is(event, "text_delta") && cancelled->deltas++ == 0) {
        CHECK(omni_stream_cancel(stream) == OMNI_CODE_OK);
    }
    if (is_last(event)) {
        CHECK(is(event, "cancelled"));
        sem_post(&cancelled->ended);
    }
}

static void chat(OmniClient *client, const char *request) {
    char *reply = NULL;
    CHECK(omni_chat(client, request, &reply) == OMNI_CODE_OK);
    char *content = omni_json_text(reply, "/content");
    printf("chat: %s\n", content);
    omni_string_free(content);
    omni_string_free(reply);
}

static void stream(OmniClient *client, const char *request) {
    OmniStream *stream = omni_stream_open(client, request);
    CHECK(stream != NULL);
    char *event = NULL, *last = NULL;
    printf("stream: ");
    while (omni_stream_next(stream, 60000, &event) == OMNI_NEXT_EVENT) {
        if (is(event, "text_delta")) {
            char *text = omni_json_text(event, "/text");
            printf("%s", text);
            omni_string_free(text);
        }
        omni_string_free(last);
        last = event;
    }
    CHECK(is(last, "done"));
    omni_string_free(last);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    printf("\n");
}

enum { CONFIG = 1, ASKED, SLOW };

int main(int argc, char **argv) {
    CHECK(argc == 4);
    for (int round = 0; round < 2; round++) { /* init, shut down, init again */
        OmniClient *client = client_of(argv[CONFIG]);
        chat(client, argv[ASKED]);
        stream(client, argv[ASKED]);

        struct cancelled cancelled = {.deltas = 0};
        CHECK(sem_init(&cancelled.ended, 0, 0) == 0);
        OmniStream *pushed = omni_stream_start(client, argv[SLOW], cancel_at_the_first_text, &cancelled);
        CHECK(pushed != NULL);
        await(&cancelled.ended);
        CHECK(omni_stream_free(pushed) == OMNI_CODE_OK);
        printf("cancelled after %d\n", cancelled.deltas);
        sem_destroy(&cancelled.ended);

        char *reply = NULL;
        CHECK(omni_chat(client, "{\"model\": \"openai/demo-error-429\", \"retry\": 0, \"messages\": [{\"role\": \"user\", "
                                "\"content\": \"x\"}]}", &reply) == OMNI_CODE_RATE_LIMIT);
        CHECK(failed("rate_limit", "\"status\":429"));
        CHECK(omni_shutdown(client, 30000) == OMNI_CODE_OK);
    }
    OmniClient *client = client_of(argv[CONFIG]);
    OmniStream *open = omni_stream_open(client, argv[SLOW]);
    expect(open, "start");
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    printf("%ld\n", (long)now.tv_sec);
    return 7;
}
