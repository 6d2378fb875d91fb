/* A host that loads the library with RTLD_LOCAL, as plugin hosts do: what the library itself loads (libpython, whose
   extension modules look its symbols up globally) must be found all the same.

   local LIBRARY REQUEST CONFIG: makes one call and prints the reply's text. */
#define _GNU_SOURCE
#include "omni_bridge.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define DIE(why) return fprintf(stderr, "%s\n", why), 1
#define LOAD(name) *(void **)&name = dlsym(library, "omni_" #name)

int main(int argc, char **argv) {
    OmniClient *(*init)(const char *);
    OmniCode (*chat)(OmniClient *, const char *, char **);
    OmniCode (*shutdown)(OmniClient *, int64_t);
    const char *(*last_error)(void);
    char *(*json_text)(const char *, const char *);
    void (*string_free)(char *);
    if (argc != 4) DIE("local LIBRARY REQUEST CONFIG");
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) DIE(dlerror());
    LOAD(init);
    LOAD(chat);
    LOAD(shutdown);
    LOAD(last_error);
    LOAD(json_text);
    LOAD(string_free);
    if (dlsym(RTLD_DEFAULT, "omni_init") != NULL) DIE("the library is global: this tests nothing");

    OmniClient *client = init(argv[3]);
    if (client == NULL) DIE(last_error());
    char *reply = NULL;
    if (chat(client, argv[2], &reply) != OMNI_CODE_OK) DIE(last_error());
    char *content = json_text(reply, "/content");
    printf("%s\n", content);
    string_free(content);
    string_free(reply);
    int embedded = strcmp(argv[3], "{}") == 0;
    if (embedded && dlsym(RTLD_DEFAULT, "Py_IsInitialized") == NULL) DIE("libpython is not global");
    if (shutdown(client, -1) != OMNI_CODE_OK) DIE(last_error());
    if (dlclose(library) != 0) DIE(dlerror()); /* its threads live on, and so must its code */
    return 0;
}
