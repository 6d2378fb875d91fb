/* A process that forks before and after it has used the library. */
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

/* Runs `body` in a forked child and gives its exit code. A child that hangs is ended by its alarm. */
static int forked(int (*body)(OmniClient *, OmniStream *), OmniClient *client, OmniStream *stream) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        _exit(body(client, stream));
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int chat_works(OmniClient *client, OmniStream *stream) {
    char *reply = NULL;
    (void)stream;
    if (omni_chat(client, ASK("x"), &reply) != OMNI_CODE_OK) {
        return 1;
    }
    omni_string_free(reply);
    return 0;
}

static int everything_is_refused(OmniClient *client, OmniStream *stream) {
    char *out = NULL;
    if (omni_chat(client, ASK("x"), &out) != OMNI_CODE_ENGINE_UNAVAILABLE || !failed("engine_unavailable", "forkserver")) {
        return 1;
    }
    if (omni_stream_next(stream, -1, &out) != OMNI_NEXT_REFUSED || omni_stream_open(client, ASK("x")) != NULL) {
        return 2;
    }
    if (omni_stream_free(stream) != OMNI_CODE_ENGINE_UNAVAILABLE || omni_init(ECHO) != NULL) {
        return 3;
    }
    return omni_shutdown(client, -1) == OMNI_CODE_ENGINE_UNAVAILABLE && omni_version() != NULL ? 0 : 4;
}

static void a_fork_before_the_first_call_is_free(void) {
    OmniClient *client = client_of(ECHO);
    CHECK(forked(chat_works, client, NULL) == 0);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void a_fork_after_it_gets_errors_and_the_parent_goes_on(void) {
    OmniClient *client = client_of(ECHO);
    OmniStream *stream = omni_stream_open(client, ASK("x"));
    expect(stream, "start");
    CHECK(forked(everything_is_refused, client, stream) == 0);
    expect(stream, "text_start");
    CHECK(omni_stream_free(stream) == OMNI_CODE_OK);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

int main(void) {
    RUN(a_fork_before_the_first_call_is_free); /* has to be the first */
    RUN(a_fork_after_it_gets_errors_and_the_parent_goes_on);
    return 0;
}
