/* The first byte says in what pieces the rest comes. As data from a client: however it is cut, it decodes the
 * same; and as a message to a server: what is sent ends once, and decodes to the same message. */
#include "base/buf.h"
#include "must.h"
#include "smtp/data.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static size_t decode(struct smtp_data_decoder *d, struct str input, size_t piece, struct buf *out) {
    size_t at = 0;
    while (at < input.len && !d->ended) {
        struct str text;
        size_t used = smtp_data_decode(d, str_head(str_from_index(input, at), piece), &text);
        must(used > 0);
        buf_str(out, text);
        at += used;
    }
    must(d->size == out->len);
    return at;
}

static int encode(struct str input, size_t piece, struct buf *out) {
    struct smtp_data_encoder e = {0};
    struct str rest, text;
    for (size_t at = 0; at < input.len; at += piece) {
        rest = str_head(str_from_index(input, at), piece);
        while (rest.len) {
            int error = smtp_data_encode(&e, &rest, &text);
            if (error)
                return error;
            buf_str(out, text);
        }
    }
    int error = smtp_data_encode_end(&e, &text);
    if (!error)
        buf_str(out, text);
    return error;
}

/* What any server could take for line ends: none but CRLF, one end of data. */
static void check_wire(struct str wire) {
    for (size_t i = 0; i < wire.len; i++) {
        must(wire.at[i] != 0);
        must(wire.at[i] != '\n' || (i && wire.at[i - 1] == '\r'));
        must(wire.at[i] != '\r' || (i + 1 < wire.len && wire.at[i + 1] == '\n'));
    }
    ptrdiff_t end = str_find(wire, STR("\r\n.\r\n"));
    must(str_eq(wire, STR(".\r\n")) || str_starts(wire, STR(".\r\n")) || end == (ptrdiff_t)wire.len - 5);
    must(!str_starts(wire, STR(".\r\n")) || wire.len == 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    if (len == 0)
        return 0;
    size_t piece = 1 + bytes[0] % 16;
    struct str input = str_from(bytes + 1, len - 1);
    struct buf whole = {0}, cut = {0}, wire = {0}, back = {0};
    struct smtp_data_decoder a = {0}, b = {0}, c = {0};
    size_t used = decode(&a, input, input.len, &whole);
    must(decode(&b, input, piece, &cut) == used && str_eq(buf_view(&whole), buf_view(&cut)));
    must(a.ended == b.ended && a.bare_cr == b.bare_cr && a.bare_lf == b.bare_lf && a.nul == b.nul);
    if (encode(input, piece, &wire) == 0) {
        check_wire(buf_view(&wire));
        must(decode(&c, buf_view(&wire), piece, &back) == wire.len && c.ended && !smtp_data_defective(&c));
        must(str_starts(buf_view(&back), input) && back.len <= input.len + 2);
    }
    /* What the server lets in, the client can send. */
    buf_clear(&wire);
    if (a.ended && !smtp_data_defective(&a))
        must(encode(buf_view(&whole), piece, &wire) == 0);
    struct buf *all[] = {&whole, &cut, &wire, &back};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        buf_free(all[i]);
    return 0;
}
