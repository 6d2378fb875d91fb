/* Streams whose events go to a callback, and every function called from inside one. */
#include "support.h"

/* What a test and its callback share. */
struct seen {
    OmniClient *client;
    OmniStream *stream, *other;
    int events, lasts;
    char types[256];
    void (*act)(struct seen *, OmniStream *, const char *);
    sem_t go_on, reached, ended;
};

static void init(struct seen *seen, const char *config, void (*act)(struct seen *, OmniStream *, const char *)) {
    memset(seen, 0, sizeof *seen);
    seen->client = client_of(config);
    seen->act = act;
    CHECK(sem_init(&seen->go_on, 0, 0) == 0 && sem_init(&seen->reached, 0, 0) == 0 && sem_init(&seen->ended, 0, 0) == 0);
}

static void finish(struct seen *seen) {
    CHECK(omni_shutdown(seen->client, -1) == OMNI_CODE_OK);
    sem_destroy(&seen->go_on);
    sem_destroy(&seen->reached);
    sem_destroy(&seen->ended);
}

static void on_event(OmniStream *stream, const char *event, void *user_data) {
    struct seen *seen = user_data;
    seen->events++;
    if (is_last(event)) {
        seen->lasts++;
    }
    if (seen->events < 10) {
        const char *type = event + strlen("{\"type\":\"");
        strncat(seen->types, type, strcspn(type, "\""));
        strcat(seen->types, " ");
    }
    if (seen->act != NULL) {
        seen->act(seen, stream, event);
    }
    if (is_last(event)) {
        sem_post(&seen->ended);
    }
}

static OmniStream *start(struct seen *seen, const char *request) {
    OmniStream *stream = omni_stream_start(seen->client, request, on_event, seen);
    CHECK(stream != NULL);
    return stream;
}

static void every_event_comes_in_order_with_the_user_data(void) {
    struct seen seen;
    init(&seen, ECHO, NULL);
    OmniStream *stream = start(&seen, ASK("Hello world"));
    await(&seen.ended);
    CHECK(strcmp(seen.types, "start text_start text_delta text_delta text_end done ") == 0 && seen.lasts == 1);
    char *event = NULL;
    CHECK(omni_stream_next(stream, 0, &event) == OMNI_NEXT_REFUSED && failed("invalid_request", "callback gets the events"));
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    CHECK(omni_stream_free(stream) == OMNI_CODE_INVALID_REQUEST);
    finish(&seen);
}

static void ten_thousand_events_come_once_each(void) {
    struct seen seen;
    init(&seen, FLOOD, NULL);
    OmniStream *stream = start(&seen, ASK("x"));
    await(&seen.ended);
    CHECK(seen.events == 1 + 10000 + 1 && seen.lasts == 1);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    finish(&seen);
}

/* Re-entry: every function that makes a call, from inside the callback. */
static void act_call_everything(struct seen *seen, OmniStream *stream, const char *event) {
    if (!is(event, "text_delta")) {
        return;
    }
    char *out = NULL;
    CHECK(omni_chat(seen->client, ASK("again"), &out) == OMNI_CODE_OK && has(out, "\"content\":\"again\""));
    omni_string_free(out);
    CHECK(omni_models(seen->client, &out) == OMNI_CODE_OK);
    omni_string_free(out);
    OmniStream *inner = omni_stream_open(seen->client, ASK("inner"));
    expect(inner, "start");
    CHECK(omni_stream_cancel(inner) == OMNI_CODE_OK);
    expect(inner, "cancelled");
    CHECK(omni_stream_free(inner) == OMNI_CODE_OK);
    CHECK(omni_stream_next(stream, -1, &out) == OMNI_NEXT_REFUSED);
    OmniClient *client = client_of(ECHO);
    CHECK(omni_chat(client, ASK("x"), &out) == OMNI_CODE_OK);
    omni_string_free(out);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
    struct seen nested;
    init(&nested, ECHO, NULL);
    OmniStream *started = start(&nested, ASK("nested"));
    await(&nested.ended);
    CHECK(omni_stream_free(started) == OMNI_CODE_OK);
    finish(&nested);
}

static void every_function_works_inside_a_callback(void) {
    struct seen seen;
    init(&seen, ECHO, act_call_everything);
    OmniStream *stream = start(&seen, ASK("Hello"));
    await(&seen.ended);
    CHECK(strcmp(seen.types, "start text_start text_delta text_end done ") == 0);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    finish(&seen);
}

static void act_cancel(struct seen *seen, OmniStream *stream, const char *event) {
    (void)seen;
    if (is(event, "start")) {
        CHECK(omni_stream_cancel(stream) == OMNI_CODE_OK);
    }
}

static void a_callback_cancels_its_own_stream(void) {
    struct seen seen;
    init(&seen, HOLD, act_cancel);
    OmniStream *stream = start(&seen, ASK("x"));
    await(&seen.ended);
    CHECK(strcmp(seen.types, "start cancelled ") == 0);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    finish(&seen);
}

static void act_free(struct seen *seen, OmniStream *stream, const char *event) {
    (void)event;
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    CHECK(omni_stream_free(stream) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "freed already"));
    sem_post(&seen->reached);
}

static void a_callback_frees_its_own_stream_and_is_the_last(void) {
    struct seen seen;
    init(&seen, FLOOD, act_free);
    start(&seen, ASK("x"));
    await(&seen.reached);
    finish(&seen); /* waits for the callback, so that a second one would have been counted */
    CHECK(seen.events == 1);
}

static void act_wait(struct seen *seen, OmniStream *stream, const char *event) {
    (void)stream;
    (void)event;
    sem_post(&seen->reached);
    await(&seen->go_on);
}

static void *free_stream(void *argument) {
    struct seen *seen = argument;
    CHECK(omni_stream_free(seen->stream) == OMNI_CODE_OK);
    int events = seen->events;
    sem_post(&seen->ended);
    return events == 1 ? "one" : "more";
}

static void a_free_waits_for_the_callback_that_runs(void) {
    struct seen seen;
    init(&seen, FLOOD, act_wait);
    seen.stream = start(&seen, ASK("x"));
    await(&seen.reached);
    pthread_t thread = run(free_stream, &seen);
    /* The handle dies first, then the free waits: once it is dead, the free is on its way and must not return. */
    while (omni_stream_cancel(seen.stream) == OMNI_CODE_OK) {
    }
    CHECK(sem_trywait(&seen.ended) != 0);
    sem_post(&seen.go_on);
    void *events = NULL;
    CHECK(pthread_join(thread, &events) == 0 && strcmp(events, "one") == 0);
    finish(&seen);
}

static void act_free_other(struct seen *seen, OmniStream *stream, const char *event) {
    (void)stream;
    if (is(event, "start")) {
        sem_post(&seen->reached);
        await(&seen->go_on); /* both are inside by now */
        CHECK(omni_stream_free(seen->other) == OMNI_CODE_OK);
        sem_post(&seen->ended);
    }
}

static void two_callbacks_that_free_each_other_do_not_wait_for_ever(void) {
    struct seen one, two;
    init(&one, HOLD, act_free_other);
    init(&two, HOLD, act_free_other);
    one.stream = start(&one, ASK("x"));
    two.stream = start(&two, ASK("x"));
    await(&one.reached);
    await(&two.reached);
    one.other = two.stream;
    two.other = one.stream;
    sem_post(&one.go_on);
    sem_post(&two.go_on);
    await(&one.ended);
    await(&two.ended);
    finish(&one);
    finish(&two);
    CHECK(one.events == 1 && two.events == 1);
}

static void act_shut_down(struct seen *seen, OmniStream *stream, const char *event) {
    if (is(event, "start")) {
        CHECK(omni_shutdown(seen->client, -1) == OMNI_CODE_OK);
        CHECK(omni_stream_start(seen->client, ASK("x"), on_event, seen) == NULL);
    }
    if (is_last(event)) {
        CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    }
}

static void a_callback_shuts_its_own_client_down(void) {
    struct seen seen;
    init(&seen, HOLD, act_shut_down);
    start(&seen, ASK("x"));
    await(&seen.ended);
    CHECK(strcmp(seen.types, "start cancelled ") == 0);
    CHECK(omni_shutdown(seen.client, -1) == OMNI_CODE_INVALID_REQUEST);
}

static void a_callback_that_blocks_holds_nobody_else_up(void) {
    enum { MANY = 16 };
    struct seen blocked[MANY], free_one;
    OmniStream *streams[MANY];
    for (int i = 0; i < MANY; i++) {
        init(&blocked[i], ECHO, act_wait);
        streams[i] = start(&blocked[i], ASK("x"));
        await(&blocked[i].reached);
    }
    init(&free_one, ECHO, NULL);
    OmniStream *stream = start(&free_one, ASK("Hello"));
    await(&free_one.ended);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    finish(&free_one);
    for (int i = 0; i < MANY; i++) {
        blocked[i].act = NULL; /* read after go_on only */
        sem_post(&blocked[i].go_on);
        await(&blocked[i].ended);
        CHECK(omni_stream_free(streams[i]) == OMNI_CODE_OK);
        finish(&blocked[i]);
    }
}

static void a_shutdown_waits_for_callbacks_as_long_as_it_is_told(void) {
    struct seen seen;
    init(&seen, HOLD, act_wait);
    OmniStream *stream = start(&seen, ASK("x"));
    await(&seen.reached);
    CHECK(omni_shutdown(seen.client, 10) == OMNI_CODE_TIMEOUT && failed("timeout", "still ending"));
    seen.act = NULL;
    sem_post(&seen.go_on);
    await(&seen.ended);
    CHECK(strcmp(seen.types, "start cancelled ") == 0);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
}

int main(void) {
    RUN(every_event_comes_in_order_with_the_user_data);
    RUN(ten_thousand_events_come_once_each);
    RUN(every_function_works_inside_a_callback);
    RUN(a_callback_cancels_its_own_stream);
    RUN(a_callback_frees_its_own_stream_and_is_the_last);
    RUN(a_free_waits_for_the_callback_that_runs);
    RUN(two_callbacks_that_free_each_other_do_not_wait_for_ever);
    RUN(a_callback_shuts_its_own_client_down);
    RUN(a_callback_that_blocks_holds_nobody_else_up);
    RUN(a_shutdown_waits_for_callbacks_as_long_as_it_is_told);
    return 0;
}
