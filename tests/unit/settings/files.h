/* files.h - a folder with the files that configurations name. */
#pragma once
#include "cmocka_setup.h"
#include "settings/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct files {
    char folder[32];
};

static inline void files_put(const struct files *f, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* users, zone, and a certificate with its key made by the openssl command; state/ with `inside` in it. */
static inline struct files files_make(void) {
    struct files f = {"/tmp/sluice-settings-XXXXXX"};
    char command[600], path[64];
    assert_non_null(mkdtemp(f.folder));
    snprintf(path, sizeof path, "%s/state", f.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "
             "/CN=a.example "
             "-keyout %s/key.pem -out %s/cert.pem 2>/dev/null",
             f.folder, f.folder);
    assert_int_equal(system(command), 0);
    files_put(&f, "users", "alice:{PLAIN}secret\n");
    files_put(&f, "state/inside", "; a zone\n");
    return f;
}

static inline void files_remove(const struct files *f) {
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", f->folder);
    assert_int_equal(system(command), 0);
}

/* Loads `text` as FOLDER/t.conf; what is wrong is in `errors`. */
static inline struct settings *files_load(const struct files *f, const char *text,
                                          const struct settings_checks *checks,
                                          struct config_errors *errors) {
    char path[64];
    struct settings *s = NULL;
    files_put(f, "t.conf", text);
    snprintf(path, sizeof path, "%s/t.conf", f->folder);
    int error = settings_load(path, checks, errors, &s);
    assert_int_equal(error != 0, config_error_count(errors) > 0);
    assert_int_equal(error != 0, s == NULL);
    return s;
}

#define POOLS                                                                                                \
    "pool normal { addresses = {127.0.1.1} }\n"                                                              \
    "pool rest { carries = {high-risk, relay, high-risk-relay} addresses = {127.0.1.2} }\n"
#define GOOD "node = mta.example.net\nstate = state\n" POOLS
