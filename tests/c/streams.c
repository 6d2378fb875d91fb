/* Streams that the caller reads. */
#include "support.h"

static void events_come_in_order_and_the_last_is_done(void) {
    OmniClient *client = client_of(ECHO);
    OmniStream *stream = omni_stream_open(client, ASK("Hello big world"));
    const char *types[] = {"start", "text_start", "text_delta", "text_delta", "text_delta", "text_end", "done"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        expect(stream, types[i]);
    }
    char *event = (char *)"rubbish";
    CHECK(omni_stream_next(stream, -1, &event) == OMNI_NEXT_ENDED && event == NULL);
    CHECK(omni_stream_next(stream, 0, &event) == OMNI_NEXT_ENDED);
    CHECK(omni_stream_cancel(stream) == OMNI_CODE_OK); /* after the end: nothing */
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void a_failed_call_ends_in_an_error_event_with_what_had_come(void) {
    OmniClient *client = client_of(
        "{\"retry\": 0, \"script\": [[" START ", {\"type\": \"text_start\", \"index\": 0}, " DELTA
        ", {\"type\": \"error\", \"error\": {\"code\": \"protocol\", \"message\": \"cut off\"}}]]}");
    OmniStream *stream = omni_stream_open(client, ASK("x"));
    expect(stream, "start");
    expect(stream, "text_start");
    expect(stream, "text_delta");
    char *event = NULL;
    CHECK(omni_stream_next(stream, -1, &event) == OMNI_NEXT_EVENT && is(event, "error"));
    CHECK(has(event, "\"code\":\"protocol\"") && has(event, "\"content\":\"tick\""));
    omni_string_free(event);
    CHECK(omni_stream_next(stream, -1, &event) == OMNI_NEXT_ENDED);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void next_waits_no_longer_than_asked_and_loses_nothing(void) {
    OmniClient *client = client_of(HOLD);
    OmniStream *stream = omni_stream_open(client, ASK("x"));
    char *event = NULL;
    CHECK(omni_stream_next(stream, 0, &event) == OMNI_NEXT_EVENT && is(event, "start"));
    omni_string_free(event);
    CHECK(omni_stream_next(stream, 0, &event) == OMNI_NEXT_TIMEOUT && event == NULL);
    CHECK(omni_stream_next(stream, 20, &event) == OMNI_NEXT_TIMEOUT && event == NULL);
    CHECK(omni_stream_next(stream, 20, NULL) == OMNI_NEXT_REFUSED && failed("invalid_request", "event_json is NULL"));
    CHECK(omni_stream_cancel(stream) == OMNI_CODE_OK && omni_stream_cancel(stream) == OMNI_CODE_OK);
    CHECK(omni_stream_next(stream, INT64_MAX, &event) == OMNI_NEXT_EVENT && is(event, "cancelled"));
    omni_string_free(event);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

struct reading {
    OmniStream *stream;
    sem_t begun;
    const char *end;
};

static void *read_to_the_end(void *argument) {
    struct reading *reading = argument;
    char *event = NULL;
    OmniNext next;
    while ((next = omni_stream_next(reading->stream, -1, &event)) == OMNI_NEXT_EVENT) {
        if (is(event, "start")) {
            sem_post(&reading->begun);
        }
        reading->end = is(event, "cancelled") ? "cancelled" : "another event";
        omni_string_free(event);
    }
    if (next == OMNI_NEXT_BAD_HANDLE) {
        CHECK(failed("invalid_request", "freed"));
        reading->end = "freed";
    } else {
        CHECK(next == OMNI_NEXT_ENDED);
    }
    return NULL;
}

/* A stream that another thread reads; in most rounds that thread waits in omni_stream_next by the end of this. */
static pthread_t begin_reading(struct reading *reading, OmniClient *client, OmniClient *echo) {
    reading->stream = omni_stream_open(client, ASK("x"));
    CHECK(reading->stream != NULL && sem_init(&reading->begun, 0, 0) == 0);
    pthread_t thread = run(read_to_the_end, reading);
    await(&reading->begun);
    char *reply = NULL;
    CHECK(omni_chat(echo, ASK("something to do meanwhile"), &reply) == OMNI_CODE_OK);
    omni_string_free(reply);
    return thread;
}

static void a_cancel_or_a_free_from_another_thread_ends_a_waiting_next(void) {
    OmniClient *client = client_of(HOLD), *echo = client_of(ECHO);
    for (int round = 0; round < 40; round++) {
        struct reading reading;
        pthread_t reader = begin_reading(&reading, client, echo);
        int cancel = round % 2;
        CHECK((cancel ? omni_stream_cancel : omni_stream_free)(reading.stream) == OMNI_CODE_OK);
        CHECK(pthread_join(reader, NULL) == 0);
        CHECK(strcmp(reading.end, cancel ? "cancelled" : "freed") == 0);
        CHECK(!cancel || omni_stream_free(reading.stream) == OMNI_CODE_OK);
        sem_destroy(&reading.begun);
    }
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK && omni_shutdown(echo, -1) == OMNI_CODE_OK);
}

static void a_freed_stream_is_refused_everywhere(void) {
    OmniClient *client = client_of(ECHO);
    OmniStream *stream = omni_stream_open(client, ASK("x"));
    expect(stream, "start");
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    OmniStream *next = omni_stream_open(client, ASK("x")); /* in the same slot of the table */
    char *event = NULL;
    CHECK(omni_stream_free(stream) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "freed already"));
    CHECK(omni_stream_cancel(stream) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "freed already"));
    CHECK(omni_stream_next(stream, 0, &event) == OMNI_NEXT_BAD_HANDLE && failed("invalid_request", "freed already"));
    CHECK(omni_stream_next((OmniStream *)client, 0, &event) == OMNI_NEXT_BAD_HANDLE);
    CHECK(omni_stream_next((OmniStream *)&event, 0, &event) == OMNI_NEXT_BAD_HANDLE);
    expect(next, "start");
    CHECK(omni_stream_free(next) == OMNI_CODE_OK);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void a_shut_down_client_cancels_its_streams_and_leaves_their_handles(void) {
    OmniClient *client = client_of(HOLD), *other = client_of(ECHO);
    OmniStream *read = omni_stream_open(client, ASK("x")), *unread = omni_stream_open(client, ASK("x"));
    OmniStream *spared = omni_stream_open(other, ASK("x"));
    expect(read, "start");
    expect(spared, "start");
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
    expect(read, "cancelled");
    expect(unread, "cancelled");
    CHECK(omni_stream_free(read) == OMNI_CODE_OK && omni_stream_free(unread) == OMNI_CODE_OK);
    expect(spared, "text_start");
    CHECK(omni_stream_free(spared) == OMNI_CODE_OK);
    CHECK(omni_shutdown(other, -1) == OMNI_CODE_OK);
}

struct share {
    OmniStream *stream;
    int events, lasts;
};

static void *take_a_share(void *argument) {
    struct share *share = argument;
    char *event = NULL;
    while (omni_stream_next(share->stream, -1, &event) == OMNI_NEXT_EVENT) {
        share->events++;
        share->lasts += is_last(event);
        omni_string_free(event);
    }
    return NULL;
}

static void several_threads_read_one_stream_and_each_event_comes_once(void) {
    OmniClient *client = client_of(FLOOD);
    OmniStream *stream = omni_stream_open(client, ASK("x"));
    struct share shares[4] = {{stream, 0, 0}, {stream, 0, 0}, {stream, 0, 0}, {stream, 0, 0}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = run(take_a_share, &shares[i]);
    }
    int events = 0, lasts = 0;
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        events += shares[i].events;
        lasts += shares[i].lasts;
    }
    CHECK(events == 1 + 10000 + 1 && lasts == 1);
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

int main(void) {
    RUN(events_come_in_order_and_the_last_is_done);
    RUN(a_failed_call_ends_in_an_error_event_with_what_had_come);
    RUN(next_waits_no_longer_than_asked_and_loses_nothing);
    RUN(a_cancel_or_a_free_from_another_thread_ends_a_waiting_next);
    RUN(a_freed_stream_is_refused_everywhere);
    RUN(a_shut_down_client_cancels_its_streams_and_leaves_their_handles);
    RUN(several_threads_read_one_stream_and_each_event_comes_once);
    return 0;
}
