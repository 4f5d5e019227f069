/* replay.c - runs a fuzzer over every file of the folders named on the command line: its corpus as an
 * ordinary test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    char *bytes = NULL;
    size_t len = 0, got;
    do {
        bytes = realloc(bytes, len + 65536);
        if (!bytes)
            abort();
        got = fread(bytes + len, 1, 65536, file);
        len += got;
    } while (got);
    fclose(file);
    /* An exact copy, so that a sanitizer sees a read past the end. */
    uint8_t *exact = malloc(len ? len : 1);
    if (!exact)
        abort();
    memcpy(exact, bytes, len);
    free(bytes);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
    return 0;
}

int main(int argc, char **argv) {
    int files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *entry; (entry = readdir(dir));) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            if (replay_file(path) != 0)
                return 1;
            files++;
        }
        closedir(dir);
    }
    printf("%d inputs replayed\n", files);
    return files ? 0 : 1;
}
