/* What the C tests share. Each program runs its cases and prints their names; a failed check says where. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include "omni_bridge.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                             \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            const char *why = omni_last_error();                                                                     \
            fprintf(stderr, "%s:%d: not so: %s\n  last error: %s\n", __FILE__, __LINE__, #condition, why ? why : "-"); \
            exit(1);                                                                                                 \
        }                                                                                                            \
    } while (0)

#define RUN(test)                                                                                                    \
    do {                                                                                                             \
        printf("%s\n", #test);                                                                                       \
        fflush(stdout);                                                                                              \
        test();                                                                                                      \
    } while (0)

/* A request of which the scripted engine repeats `text`. */
#define ASK(text) "{\"model\": \"scripted/echo\", \"messages\": [{\"role\": \"user\", \"content\": \"" text "\"}]}"

/* Engines: one that repeats, one that says `start` and then nothing until it is cancelled. */
#define ECHO "{\"bridge\": \"scripted\"}"
#define START "{\"type\": \"start\", \"model\": \"m\", \"provider\": \"p\", \"engine\": \"litellm\"}"
#define HOLD "{\"script\": [[" START ", {\"type\": \"hold\"}]]}"
#define DELTA "{\"type\": \"text_delta\", \"index\": 0, \"text\": \"tick\"}"
#define FLOOD "{\"script\": [[" START ", {\"type\": \"repeat\", \"times\": 10000, \"event\": " DELTA "}]]}"

static inline int has(const char *text, const char *part) {
    return text != NULL && strstr(text, part) != NULL;
}

/* Whether the event `json` is of `type`; the tag stands first. */
static inline int is(const char *json, const char *type) {
    char head[64];
    snprintf(head, sizeof head, "{\"type\":\"%s\"", type);
    return json != NULL && strncmp(json, head, strlen(head)) == 0;
}

static inline int is_last(const char *json) {
    return is(json, "done") || is(json, "error") || is(json, "cancelled");
}

/* Whether the last error on this thread is of the code `name` and says `part`. */
static inline int failed(const char *name, const char *part) {
    char head[64];
    snprintf(head, sizeof head, "{\"code\":\"%s\"", name);
    return has(omni_last_error(), head) && has(omni_last_error(), part);
}

static inline OmniClient *client_of(const char *config) {
    OmniClient *client = omni_init(config);
    CHECK(client != NULL);
    return client;
}

/* Takes the next event, which must be of `type`. */
static inline void expect(OmniStream *stream, const char *type) {
    char *event = NULL;
    CHECK(omni_stream_next(stream, -1, &event) == OMNI_NEXT_EVENT);
    CHECK(is(event, type));
    omni_string_free(event);
}

static inline void await(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0) {
    }
}

static inline pthread_t run(void *(*body)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    return thread;
}

#endif
