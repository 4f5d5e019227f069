#include "trace/text.h"

struct str trace_utf8_next(struct str *rest, uint32_t *ret_code) {
    const unsigned char *p = (const unsigned char *)rest->at;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    uint32_t code = len == 1 ? p[0] : len ? p[0] & (0x7fu >> len) : 0;
    bool good = len > 0 && len <= rest->len;
    for (size_t i = 1; good && i < len; i++) {
        good = (p[i] & 0xc0) == 0x80;
        code = code << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (good && (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
        good = false;
    struct str character = good ? str_head(*rest, len) : STR("\xef\xbf\xbd");
    *rest = str_from_index(*rest, good ? len : 1);
    *ret_code = good ? code : 0xfffd;
    return character;
}

void trace_json_string(struct buf *out, struct str text) {
    buf_char(out, '"');
    while (text.len) {
        uint32_t code;
        struct str character = trace_utf8_next(&text, &code);
        if (code == '"' || code == '\\')
            buf_printf(out, "\\%c", (char)code);
        else if (code == '\n' || code == '\t' || code == '\r')
            buf_printf(out, "\\%c", code == '\n' ? 'n' : code == '\t' ? 't' : 'r');
        else if (code < ' ' || code == 0x7f)
            buf_printf(out, "\\u%04x", code);
        else
            buf_str(out, character);
    }
    buf_char(out, '"');
}
