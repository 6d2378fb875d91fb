/* Calls without a stream: the happy path, and everything that a caller can get wrong. */
#include "support.h"

static void version_and_names(void) {
    CHECK(has(omni_version(), "\"contract\": 1}") && OMNI_CONTRACT == 1);
    CHECK(strcmp(omni_code_name(OMNI_CODE_OK), "ok") == 0);
    CHECK(strcmp(omni_code_name(OMNI_CODE_RATE_LIMIT), "rate_limit") == 0);
    CHECK(omni_code_name(-1) == NULL && omni_code_name(1000) == NULL);
    CHECK(omni_last_error() == NULL);
    omni_string_free(NULL);
}

static void a_call_and_its_reply(void) {
    OmniClient *client = client_of(ECHO);
    char *reply = NULL;
    CHECK(omni_chat(client, ASK("Hello world"), &reply) == OMNI_CODE_OK);
    CHECK(has(reply, "\"content\":\"Hello world\"") && has(reply, "\"finish_reason\":\"stop\""));
    omni_string_free(reply);
    char *models = NULL;
    CHECK(omni_models(client, &models) == OMNI_CODE_OK && has(models, "\"id\":\"scripted/echo\""));
    omni_string_free(models);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void an_error_of_the_provider_has_its_number_and_its_fields(void) {
    OmniClient *client = client_of(
        "{\"retry\": 0, \"script\": [[{\"type\": \"error\", \"error\": {\"code\": \"rate_limit\", \"message\": \"slow down\","
        " \"status\": 429, \"retryable\": true, \"retry_after\": 7.5}}]]}");
    char *reply = (char *)"rubbish";
    CHECK(omni_chat(client, ASK("Hello"), &reply) == OMNI_CODE_RATE_LIMIT);
    CHECK(reply == NULL);
    CHECK(failed("rate_limit", "slow down") && has(omni_last_error(), "\"retry_after\":7.5"));
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void nulls_are_refused_by_name(void) {
    OmniClient *client = client_of(NULL);
    char *out = NULL;
    CHECK(omni_chat(NULL, ASK("x"), &out) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "client is NULL"));
    CHECK(omni_chat(client, NULL, &out) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "request_json is NULL"));
    CHECK(omni_chat(client, ASK("x"), NULL) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "reply_json is NULL"));
    CHECK(has(omni_last_error(), "omni_chat: "));
    CHECK(omni_models(client, NULL) == OMNI_CODE_INVALID_REQUEST && omni_models(NULL, &out) == OMNI_CODE_INVALID_REQUEST);
    CHECK(omni_stream_open(NULL, ASK("x")) == NULL && omni_stream_open(client, NULL) == NULL);
    CHECK(omni_stream_start(client, ASK("x"), NULL, NULL) == NULL && failed("invalid_request", "callback is NULL"));
    CHECK(omni_stream_next(NULL, 0, &out) == OMNI_NEXT_BAD_HANDLE && failed("invalid_request", "stream is NULL"));
    CHECK(omni_stream_cancel(NULL) == OMNI_CODE_INVALID_REQUEST && omni_stream_free(NULL) == OMNI_CODE_INVALID_REQUEST);
    CHECK(omni_shutdown(NULL, 0) == OMNI_CODE_INVALID_REQUEST);
    CHECK(omni_check(NULL, "{}", &out) == OMNI_CODE_INVALID_REQUEST && omni_check("reply", "{}", NULL) == OMNI_CODE_INVALID_REQUEST);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void what_is_not_a_request_is_refused_with_its_place(void) {
    OmniClient *client = client_of(ECHO);
    char *reply = NULL;
    const char *wrong[][2] = {
        {"", "the request"},
        {"{\"model\": ", "line 1 column"},
        {"[1, 2]", "the request"},
        {"{\"model\": \"a/b\", \"messages\": [], \"temperatures\": 1}", "did you mean \\\"temperature\\\""},
        {"{\"model\": \"a/b\", \"messages\": []}", "messages"},
        {"{\"model\": \"\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", "model"},
        {"\xff\xfe", "the request"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(omni_chat(client, wrong[i][0], &reply) == OMNI_CODE_INVALID_REQUEST && reply == NULL);
        CHECK(failed("invalid_request", wrong[i][1]));
        CHECK(omni_stream_open(client, wrong[i][0]) == NULL && failed("invalid_request", wrong[i][1]));
    }
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void what_is_not_a_configuration_is_refused_and_no_token_is_repeated(void) {
    const char *wrong[][2] = {
        {"{\"bridge\": \"telepathy\"}", "bridge: expected \\\"embedded\\\", \\\"http\\\" or \\\"scripted\\\""},
        {"{\"bridge_uri\": \"http://localhost:1\"}", "bridge_uri: no such field; there are bridge, bridge_url, "},
        {"{\"bridge\": \"http\"}", "needs \\\"bridge_url\\\""},
        {"{\"bridge\": \"embedded\", \"bridge_url\": \"http://localhost:1\"}", "bridge \\\"http\\\" only"},
        {"{\"bridge\": \"embedded\", \"script\": []}", "bridge \\\"scripted\\\" only"},
        {"{\"timeout\": -1}", "timeout.total"},
        {"{\"timeout\": \"soon\"}", "timeout: expected seconds"},
        {"{\"script\": [[], [{\"type\": \"hold\"}, {\"type\": \"dance\"}]]}", "script[1][1]: unknown variant `dance`"},
        {"{\"script\": [[{\"type\": \"repeat\", \"times\": 2}]]}", "script[0][0]: missing field `event`"},
        {"[]", "configuration"},
        {"nonsense", "the configuration is not JSON"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(omni_init(wrong[i][0]) == NULL);
        CHECK(failed("invalid_request", wrong[i][1]));
    }
    const char *misplaced[] = {"bridge", "bridge_token", "retry", "allow_endpoints", "allowed_hosts", "fallbacks"};
    for (size_t i = 0; i < sizeof misplaced / sizeof *misplaced; i++) {
        char config[128];
        const char *wrap = strcmp(misplaced[i], "bridge_token") == 0 ? "[\"token-of-mine\"]" : "\"token-of-mine\"";
        snprintf(config, sizeof config, "{\"%s\": %s}", misplaced[i], wrap);
        CHECK(omni_init(config) == NULL && failed("invalid_request", misplaced[i]));
        CHECK(!has(omni_last_error(), "token-of-mine"));
    }
}

static void text_that_breaks_things_comes_back(void) {
    const char *texts[][2] = {
        {"a\\u0000b", "a\\u0000b"},                                 /* a NUL */
        {"\\ud83d\\ude00 \xf0\x9f\x98\x80", "\xf0\x9f\x98\x80 \xf0\x9f\x98\x80"}, /* an emoji, escaped and not */
        {"lone \\ud800 and \\udfff", "lone \xef\xbf\xbd and \xef\xbf\xbd"},
        {"bad \xff utf-8 \xc3", "bad \xef\xbf\xbd utf-8 \xef\xbf\xbd"},
        {"\xe2\x80\xa8 \xef\xbb\xbf \\\" \\\\ \\n", "\xe2\x80\xa8 \xef\xbb\xbf \\\" \\\\ \\n"},
    };
    OmniClient *client = client_of(ECHO);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char request[512], wanted[512], *reply = NULL;
        snprintf(request, sizeof request, ASK("%s"), texts[i][0]);
        snprintf(wanted, sizeof wanted, "\"content\":\"%s\"", texts[i][1]);
        CHECK(omni_chat(client, request, &reply) == OMNI_CODE_OK);
        CHECK(has(reply, wanted));
        omni_string_free(reply);
    }
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
}

static void a_message_of_a_megabyte_goes_in_and_out_whole(void) {
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE + 1), *request = malloc(SIZE + 256), *reply = NULL;
    CHECK(text != NULL && request != NULL);
    for (int i = 0; i < SIZE; i++) {
        text[i] = (char)('a' + i % 26);
    }
    text[SIZE] = '\0';
    snprintf(request, SIZE + 256, ASK("%s"), text);
    OmniClient *client = client_of(ECHO);
    CHECK(omni_chat(client, request, &reply) == OMNI_CODE_OK && has(reply, text));
    omni_string_free(reply);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
    free(text);
    free(request);
}

static void documents_are_checked(void) {
    char *out = NULL;
    CHECK(omni_check("request", ASK("x"), &out) == OMNI_CODE_OK && has(out, "\"model\":\"scripted/echo\""));
    omni_string_free(out);
    CHECK(omni_check("event", DELTA, &out) == OMNI_CODE_OK && is(out, "text_delta"));
    omni_string_free(out);
    CHECK(omni_check("event", "{\"type\": \"no such\"}", &out) == OMNI_CODE_INVALID_REQUEST && out == NULL);
    CHECK(omni_check("poem", "{}", &out) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "kind is none of"));
}

static void json_is_looked_into(void) {
    const char *json = "{\"a/b\": [1, {\"text\": \"say \\\"hi\\\"\\n\\u0000!\"}], \"none\": null}";
    char *value = omni_json_get(json, "/a~1b/1/text");
    CHECK(strcmp(value, "\"say \\\"hi\\\"\\n\\u0000!\"") == 0);
    omni_string_free(value);
    value = omni_json_text(json, "/a~1b/1/text");
    CHECK(strcmp(value, "say \"hi\"\n\xef\xbf\xbd!") == 0);
    omni_string_free(value);
    value = omni_json_get(json, "/none");
    CHECK(strcmp(value, "null") == 0);
    omni_string_free(value);
    CHECK(omni_json_get(json, "/a~1b/2") == NULL && failed("invalid_request", "nothing stands at"));
    CHECK(omni_json_text(json, "/none") == NULL && failed("invalid_request", "no string"));
    CHECK(omni_json_get("{", "") == NULL && omni_json_get(NULL, "") == NULL && omni_json_text(json, NULL) == NULL);
}

static void a_client_that_was_shut_down_is_refused(void) {
    OmniClient *client = client_of(ECHO);
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_OK);
    char *out = NULL;
    CHECK(omni_shutdown(client, -1) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "shut down already"));
    CHECK(omni_chat(client, ASK("x"), &out) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "shut down already"));
    OmniClient *next = client_of(ECHO); /* in the same slot of the table */
    CHECK(omni_chat(client, ASK("x"), &out) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "shut down already"));
    CHECK(omni_chat(next, ASK("x"), &out) == OMNI_CODE_OK);
    omni_string_free(out);
    CHECK(omni_stream_free((OmniStream *)next) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "a client handle"));
    CHECK(omni_chat((OmniClient *)&next, ASK("x"), &out) == OMNI_CODE_INVALID_REQUEST && failed("invalid_request", "no handle"));
    CHECK(omni_shutdown(next, -1) == OMNI_CODE_OK);
}

int main(void) {
    RUN(version_and_names);
    RUN(a_call_and_its_reply);
    RUN(an_error_of_the_provider_has_its_number_and_its_fields);
    RUN(nulls_are_refused_by_name);
    RUN(what_is_not_a_request_is_refused_with_its_place);
    RUN(what_is_not_a_configuration_is_refused_and_no_token_is_repeated);
    RUN(text_that_breaks_things_comes_back);
    RUN(a_message_of_a_megabyte_goes_in_and_out_whole);
    RUN(documents_are_checked);
    RUN(json_is_looked_into);
    RUN(a_client_that_was_shut_down_is_refused);
    return 0;
}
