/* Any bytes as Rspamd's answer: the HTTP around it, and the JSON alone. */
#include "base/error.h"
#include "must.h"
#include "scan/http.h"
#include "scan/milter_wire.h"
#include "scan/rspamd.h"
#include "scan/rspamd_changes.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct str malware[] = {{"*_VIRUS", 7}};
static const struct str words[] = {{"reject", 6}, {"soft reject", 11}, {"add header", 10}};

static const struct scan_settings settings = {
    .malware_symbols = malware,
    .malware_symbol_count = 1,
    .spam_actions = words,
    .spam_action_count = 3,
    .refuse = words,
    .refuse_count = 2,
    .apply_headers = true,
    .rewrite_subject = true,
};

static void must_be_plain(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        must(text.at[i] >= ' ' && text.at[i] < 127);
}

/* Bounded, and of bytes that can stand in a field once it is folded. */
static void must_be_a_value(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        must((text.at[i] >= ' ' && text.at[i] < 127) || strchr("\t\r\n", text.at[i]));
}

static void check_changes(const struct scan_result *r) {
    size_t bytes = 0;
    must(!r->change_count || !r->changes_why.len);
    for (size_t i = 0; i < r->change_count; i++) {
        must(milter_is_field_name(r->changes[i].name) && (!r->changes[i].remove || !r->changes[i].value.len));
        must_be_a_value(r->changes[i].value);
        bytes += r->changes[i].name.len + r->changes[i].value.len;
    }
    must(r->change_count <= RSPAMD_CHANGES_MAX && bytes <= RSPAMD_CHANGES_BYTES);
    must_be_a_value(r->subject);
    must(r->subject.len <= SCAN_SUBJECT_MAX);
}

static void read_json(struct str json, struct arena *arena) {
    struct scan_result r = {.scanner = STR("s")};
    struct str why;
    int error = rspamd_answer(json, &settings, arena, &r, &why);
    if (error) {
        must(error == SLUICE_ESYNTAX && why.len);
        must_be_plain(why);
        return;
    }
    must(r.action.len && r.symbols.len <= SCAN_SYMBOLS_MAX);
    must((r.verdict == SCAN_CLEAN) == !r.reason.len);
    must(!r.refuse || (r.refusal.code >= 400 && r.refusal.text.len));
    check_changes(&r);
    must_be_plain(r.symbols);
    must_be_plain(r.action);
    must_be_plain(r.reason);
    must_be_plain(r.refusal.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str input = str_from(bytes, len), why = {0};
    struct stream *s = stream_memory(input, NULL);
    struct http_answer answer;
    int error = http_read(s, 4096, 0, arena, &answer, &why);
    stream_free(s);
    must(answer.began == (len > 0));
    must((error == SLUICE_ESYNTAX || error == SLUICE_ETOOBIG) == (why.len > 0));
    if (!error) {
        must(answer.body.len <= 4096 && answer.status >= 200 && answer.status < 600);
        read_json(answer.body, arena);
    }
    read_json(input, arena);
    arena_free(arena);
    return 0;
}
