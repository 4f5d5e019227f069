/* Any bytes as a milter's: first what it agreed to, then packets, carried out on a message. What comes out
 * must be a header and a body that can be sent. */
#include "must.h"
#include "scan/milter.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* A field is one field: CRLF only at its end and before blanks. */
static void check_field(const struct header_field *f) {
    must(f->whole.len > 2 && str_ends(f->whole, STR("\r\n")));
    for (size_t i = 0; i + 2 < f->whole.len; i++) {
        char c = f->whole.at[i], next = f->whole.at[i + 1];
        must(c != 0 && (c != '\r' || next == '\n') && (c != '\n' || next == ' ' || next == '\t'));
        must(c != '\n' || f->whole.at[i - 1] == '\r');
    }
}

static void check_body(struct milter_message *m) {
    struct str piece;
    char last = '\n', before = '\r';
    for (uint64_t at = 0; milter_message_body(m, at, &piece) == 0 && piece.len; at += piece.len)
        for (size_t i = 0; i < piece.len; i++) {
            must(piece.at[i] != 0 && (piece.at[i] != '\n' || last == '\r') &&
                 (last != '\r' || piece.at[i] == '\n'));
            before = last, last = piece.at[i];
        }
    must(last == '\n' && before == '\r');
}

static void apply(struct milter_message *m, struct str packets, struct arena *arena) {
    while (packets.len >= 2) {
        size_t size = (unsigned char)packets.at[0];
        struct str packet = str_head(str_from_index(packets, 1), size ? size : 1);
        struct milter_answer answer;
        packets = str_from_index(packets, 1 + packet.len);
        if (milter_read_answer(packet.at[0], str_from_index(packet, 1), arena, &answer) != NULL)
            continue;
        if (answer.kind == MILTER_SAYS_REFUSE)
            must(answer.reply.code >= 400 && answer.reply.code < 600 && answer.reply.enhanced.len >= 5 &&
                 (answer.reply.code / 100 == answer.reply.enhanced.at[0] - '0'));
        if (milter_answer_needs(answer.kind) && milter_message_change(m, &answer, size & 1, STR("m")) != NULL)
            return;
    }
    if (milter_message_changed(m) != NULL)
        return;
    for (size_t i = 0; i < m->count; i++)
        check_field(&m->fields[i]);
    check_body(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    static const struct scan_copy_place place;
    struct arena *arena = arena_new(0);
    struct scan_copy *copy = scan_copy_new(&place);
    struct milter_options options;
    struct header header;
    struct str input = str_from(bytes, len);
    (void)!milter_read_options(input, arena, &options);
    must(header_parse(arena, STR("Subject: x\r\nX-A: 1\r\n y\r\n\r\nbody\r\n"), 0, &header) == 0);
    must(scan_copy_add(copy, STR("Subject: x\r\nX-A: 1\r\n y\r\n\r\nbody\r\n")) == 0);
    struct milter_message m = {.arena = arena,
                               .fields = header.fields,
                               .count = header.count,
                               .room = header.count,
                               .copy = copy,
                               .body_at = header.body_at,
                               .place = &place};
    apply(&m, input, arena);
    milter_message_end(&m);
    scan_copy_free(copy);
    arena_free(arena);
    return 0;
}
