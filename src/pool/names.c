#include "pool/load.h"

static bool is_name_char(char c) {
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static bool is_number(struct str label) {
    size_t digits = 0;
    while (digits < label.len && label.at[digits] >= '0' && label.at[digits] <= '9')
        digits++;
    return digits == label.len;
}

bool pool_host_name_valid(struct str name) {
    struct str rest = name, label;
    size_t labels = 0;
    if (name.len == 0 || name.len > 253)
        return false;
    while (str_cut(&rest, '.', &label)) {
        if (label.len == 0 || label.len > 63 || label.at[0] == '-' || label.at[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!is_name_char(label.at[i]))
                return false;
        labels++;
    }
    return labels > 0 && !str_ends(name, STR(".")) && (labels == 1 || !is_number(label));
}

const char *pool_ptr_name(struct arena *arena, struct str template, struct str code, uint32_t n) {
    char out[256];
    size_t len = 0;
    while (template.len > 0 && len < sizeof out - 1) {
        struct str piece = str_head(template, 1);
        char number[16];
        size_t used = 1;
        if (str_starts(template, STR("{class}"))) {
            piece = code, used = 7;
        } else if (str_starts(template, STR("{n}"))) {
            size_t digits = 0;
            uint32_t left = n;
            do
                number[sizeof number - ++digits] = (char)('0' + left % 10);
            while ((left /= 10) > 0 || digits < 4);
            piece = str_from(number + sizeof number - digits, digits), used = 3;
        }
        piece = str_head(piece, sizeof out - 1 - len);
        if (piece.len)
            memcpy(out + len, piece.at, piece.len);
        len += piece.len;
        template = str_from_index(template, used);
    }
    return str_c(arena, str_from(out, len));
}

const char *pool_spf_text(const struct pool *pool) {
    return pool->spf_published ? "published" : pool->spf_hidden ? "hidden" : "unpublished";
}
