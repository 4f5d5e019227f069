/* Converted mail is 7-bit, the same however it was cut, and unchanged where it was 7-bit already. */
#include "mail/convert.h"
#include "mail/mime.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int in_two(struct str message, size_t cut, struct buf *out) {
    struct convert *c = convert_new();
    struct str first = str_head(message, cut), second = str_from_index(message, cut);
    int error = convert_scan(c, first);
    error = error ? error : convert_scan(c, second);
    error = error ? error : convert_scan_end(c);
    error = error ? error : convert_write(c, first, out);
    error = error ? error : convert_write(c, second, out);
    error = error ? error : convert_write_end(c, out);
    convert_free(c);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct str message = str_from(bytes, len);
    struct buf out = {0}, cut = {0};
    int error = convert_message(message, &out, NULL);
    if (in_two(message, len ? bytes[len - 1] * len / 256 : 0, &cut) != error)
        abort();
    if (!error && (bytes_8bit(buf_view(&out)) || !str_eq(buf_view(&out), buf_view(&cut))))
        abort();
    if (!error && !bytes_8bit(message) && !str_eq(buf_view(&out), message))
        abort();
    buf_free(&out);
    buf_free(&cut);
    return 0;
}
