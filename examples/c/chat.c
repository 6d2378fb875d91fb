/* Streams a chat with a tool call: OpenAI, Anthropic, Gemini and their like are asked natively, every other provider
   through LiteLLM in a Python that this program embeds. */
#include <omni_bridge.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {"
    "\"name\": \"get_weather\", \"description\": \"The weather in a city, now\","
    "\"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}, \"required\": [\"city\"]}}}]";

static void die(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

/* Prints the text as it comes; gives the whole reply, which is the caller's. */
static char *answer(OmniClient *client, const char *request) {
    OmniStream *stream = omni_stream_open(client, request);
    if (stream == NULL) die(omni_last_error());
    char *event, *reply = NULL;
    while (omni_stream_next(stream, -1, &event) == OMNI_NEXT_EVENT) {
        char *type = omni_json_text(event, "/type");
        if (strcmp(type, "text_delta") == 0) {
            char *text = omni_json_text(event, "/text");
            fputs(text, stdout);
            fflush(stdout);
            omni_string_free(text);
        } else if (strcmp(type, "done") == 0) {
            reply = omni_json_get(event, "/reply");
        } else if (strcmp(type, "error") == 0) {
            die(omni_json_get(event, "/error"));
        }
        omni_string_free(type);
        omni_string_free(event);
    }
    omni_stream_free(stream);
    if (reply == NULL) die("the call was cancelled");
    return reply;
}

int main(int argc, char **argv) {
    OmniClient *client = omni_init("{}");
    const char *model = argc > 1 ? argv[1] : "openai/gpt-5-mini";
    char *messages;
    size_t size;
    FILE *talk = open_memstream(&messages, &size);
    fprintf(talk, "{\"role\": \"user\", \"content\": \"What is the weather in Paris?\"}");

    for (int calls = 1; calls > 0;) {
        fflush(talk);
        char *request = malloc(size + sizeof tools + strlen(model) + 64);
        sprintf(request, "{\"model\": \"%s\", \"messages\": [%s], \"tools\": %s}", model, messages, tools);
        char *reply = answer(client, request);
        char *message = omni_json_get(reply, "/message");
        fprintf(talk, ", %s", message); /* reasoning, signatures and calls go back as they came */
        for (calls = 0;; calls++) {
            char pointer[64];
            sprintf(pointer, "/tool_calls/%d/id", calls);
            char *id = omni_json_get(reply, pointer);
            if (id == NULL) break;
            sprintf(pointer, "/tool_calls/%d/function/arguments", calls);
            char *arguments = omni_json_text(reply, pointer), *city = omni_json_text(arguments, "/city");
            printf("calling get_weather for %s\n", city ? city : "nowhere");
            fprintf(talk, ", {\"role\": \"tool\", \"tool_call_id\": %s, \"content\": \"18 °C and sunny\"}", id);
            omni_string_free(city);
            omni_string_free(arguments);
            omni_string_free(id);
        }
        omni_string_free(message);
        omni_string_free(reply);
        free(request);
    }
    puts("");
    fclose(talk);
    free(messages);
    omni_shutdown(client, -1);
    return 0;
}
