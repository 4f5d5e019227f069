/* Any bytes as the file of faults: what is read is the same when written and read again, and what is refused
 * changes nothing. */
#include "identity/faults.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct faults *faults = faults_new(), *copy = faults_new();
    struct buf once = {0}, twice = {0};
    struct fault *list, *same;
    if (faults_parse(faults, str_from(bytes, len)) != 0)
        must(faults_list(faults, arena, &list) == 0 && faults_count(faults).checked == 0);
    faults_text(faults, &once);
    must(faults_parse(copy, buf_view(&once)) == 0);
    size_t count = faults_list(faults, arena, &list);
    must(faults_list(copy, arena, &same) == count);
    for (size_t i = 0; i < count; i++) {
        must(list[i].code == same[i].code && list[i].since == same[i].since && list[i].seen == same[i].seen);
        must(str_eq(list[i].subject, same[i].subject) && str_eq(list[i].put, same[i].put));
        struct str about = faults_about(faults, list[i].subject, arena);
        must(survey_code_warns(list[i].code) || list[i].code == SURVEY_UNANSWERED || about.len);
    }
    faults_text(copy, &twice);
    must(str_eq(buf_view(&once), buf_view(&twice)));
    buf_free(&once), buf_free(&twice);
    faults_free(faults), faults_free(copy);
    arena_free(arena);
    return 0;
}
