#include "cmd/compose.h"

#include "base/error.h"
#include "mail/address.h"
#include "mail/build.h"
#include "mail/header.h"

enum { RECIPIENTS_MAX = 2000 };

/* A CR alone is no end of a line in mail (RFC 5321 2.3.8), but programs that draw write it: in the header it
 * becomes a blank, in the body a line end. */
static void add_line(struct buf *out, struct str line, bool header) {
    ptrdiff_t at;
    while ((at = str_index(line, '\r')) >= 0) {
        buf_str(out, str_head(line, (size_t)at));
        buf_str(out, header ? STR(" ") : STR("\r\n"));
        line = str_from_index(line, (size_t)at + 1);
    }
    buf_str(out, line);
    buf_str(out, STR("\r\n"));
}

/* Line ends become CRLF; a mailbox file's "From " line goes; a lone dot ends it where that was asked. */
static struct str normal_lines(struct arena *arena, struct str input, bool dot_ends) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    bool header = true;
    if (str_starts(input, STR("From "))) {
        ptrdiff_t end = str_index(input, '\n');
        input = end < 0 ? STR_NULL : str_from_index(input, (size_t)end + 1);
    }
    buf_reserve(&out, input.len + input.len / 32 + 2);
    while (input.len) {
        ptrdiff_t end = str_index(input, '\n');
        struct str line = end < 0 ? input : str_head(input, (size_t)end);
        input = end < 0 ? STR_NULL : str_from_index(input, (size_t)end + 1);
        while (line.len && line.at[line.len - 1] == '\r')
            line.len--;
        header = header && line.len > 0;
        if (dot_ends && str_eq(line, STR(".")))
            break;
        add_line(&out, line, header);
    }
    return str_copy(arena, buf_view(&out));
}

/* A login name alone is somebody of this host. */
static struct str qualified(struct arena *arena, struct str address, const char *host) {
    return !address.len || str_index(address, '@') >= 0
               ? address
               : str_printf(arena, "%.*s@%s", STR_FMT(address), host);
}

static int add_list(struct arena *arena, struct str list, struct composed *to, struct str *ret_why) {
    struct address_list found = {0};
    int bad = address_list_parse(arena, list, &found);
    if (bad) {
        *ret_why = str_printf(arena, "not an address: %.*s", STR_FMT(str_head(list, 200)));
        return bad;
    }
    for (size_t i = 0; i < found.count; i++) {
        bool there = false;
        for (size_t k = 0; k < to->recipient_count && !there; k++)
            there = str_eq(to->recipients[k], found.items[i].address.whole);
        if (there)
            continue;
        if (to->recipient_count == RECIPIENTS_MAX) {
            *ret_why = STR("over 2000 recipients");
            return SLUICE_ETOOBIG;
        }
        to->recipients[to->recipient_count++] = found.items[i].address.whole;
    }
    return 0;
}

static bool is_one_of(struct str name, const char *const *names) {
    for (; *names; names++)
        if (str_eq_nocase(name, str_of(*names)))
            return true;
    return false;
}

/* Of a message that is sent on, the Resent fields count (RFC 5322 3.6.6). */
static int add_header(struct arena *arena, const struct header *header, struct composed *to,
                      struct str *ret_why) {
    static const char *const plain[] = {"To", "Cc", "Bcc", NULL};
    static const char *const resent[] = {"Resent-To", "Resent-Cc", "Resent-Bcc", NULL};
    bool again = header_find(header, STR("Resent-To"), NULL) || header_find(header, STR("Resent-Cc"), NULL) ||
                 header_find(header, STR("Resent-Bcc"), NULL);
    for (size_t i = 0; i < header->count; i++) {
        if (!is_one_of(header->fields[i].name, again ? resent : plain))
            continue;
        struct str value = header_unfold(arena, header->fields[i].value);
        int bad = value.len ? add_list(arena, value, to, ret_why) : 0;
        if (bad)
            return bad;
    }
    return 0;
}

static int recipients(struct arena *arena, const struct header *header, const struct compose_request *request,
                      struct composed *ret, struct str *ret_why) {
    ret->recipients = arena_array(arena, struct str, RECIPIENTS_MAX);
    for (size_t i = 0; i < request->recipient_count; i++) {
        struct str word = qualified(arena, str_trim(str_of(request->recipients[i])), request->host);
        int bad = add_list(arena, word, ret, ret_why);
        if (bad)
            return bad;
    }
    int bad = request->from_header ? add_header(arena, header, ret, ret_why) : 0;
    if (!bad && !ret->recipient_count) {
        *ret_why = request->from_header
                       ? STR("no recipient in To, Cc or Bcc, and none given")
                       : STR("no recipient: name them, or give -t to take those of the header");
        bad = SLUICE_ESYNTAX;
    }
    return bad;
}

static struct str first_address(struct arena *arena, const struct header *header, struct str name) {
    struct address_list found = {0};
    struct str value = header_value(arena, header, name);
    if (!value.len || address_list_parse(arena, value, &found) != 0 || !found.count)
        return STR_NULL;
    return found.items[0].address.whole;
}

static int sender(struct arena *arena, const struct header *header, const struct compose_request *request,
                  struct str *ret, struct str *ret_why) {
    struct address parsed;
    struct str given = str_trim(request->sender);
    if (!request->sender.at) {
        *ret = first_address(arena, header, STR("Sender"));
        if (!ret->len)
            *ret = first_address(arena, header, STR("From"));
        if (!ret->len)
            *ret = str_printf(arena, "%s@%s", request->user, request->host);
        return 0;
    }
    if (str_starts(given, STR("<")) && str_ends(given, STR(">")))
        given = str_from(given.at + 1, given.len - 2);
    given = qualified(arena, given, request->host);
    if (given.len && address_parse(given, ADDRESS_ALLOW_UTF8, &parsed) != 0) {
        *ret_why = str_printf(arena, "not an address: %.*s", STR_FMT(given));
        return SLUICE_ESYNTAX;
    }
    *ret = given.len ? given : STR("");
    return 0;
}

/* From: "Full Name" <address>; a name that is not ASCII as encoded words (RFC 2047). */
static void write_from(struct arena *arena, struct buf *out, struct str name, struct str address) {
    bool ascii = true;
    for (size_t i = 0; i < name.len; i++)
        ascii = ascii && name.at[i] >= ' ' && name.at[i] <= '~';
    struct buf phrase __attribute__((cleanup(buf_free))) = {0};
    if (ascii) {
        buf_char(&phrase, '"');
        for (size_t i = 0; i < name.len; i++) {
            if (name.at[i] == '"' || name.at[i] == '\\')
                buf_char(&phrase, '\\');
            buf_char(&phrase, name.at[i]);
        }
        buf_char(&phrase, '"');
    } else {
        struct buf field __attribute__((cleanup(buf_free))) = {0};
        header_write_text(&field, STR("X"), name);
        buf_str(&phrase, header_unfold(arena, str_from_index(buf_view(&field), 2)));
    }
    header_write(out, STR("From"),
                 str_printf(arena, "%.*s <%.*s>", STR_FMT(buf_view(&phrase)), STR_FMT(address)));
}

int compose(struct arena *arena, struct str input, const struct compose_request *request,
            struct composed *ret, struct str *ret_why) {
    static const char *const hidden[] = {"Bcc", "Resent-Bcc", NULL};
    struct composed result = {0};
    struct header header;
    struct str message = normal_lines(arena, input, request->dot_ends);
    int bad = header_parse(arena, message, 0, &header);
    if (bad) {
        *ret_why = STR("the header is too long");
        return bad;
    }
    bad = recipients(arena, &header, request, &result, ret_why);
    if (!bad)
        bad = sender(arena, &header, request, &result.sender, ret_why);
    if (bad)
        return bad;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    buf_reserve(&out, message.len + 512);
    if (request->full_name.len && result.sender.len && !header_find(&header, STR("From"), NULL))
        write_from(arena, &out, request->full_name, result.sender);
    for (size_t i = 0; i < header.count; i++)
        if (!is_one_of(header.fields[i].name, hidden))
            buf_str(&out, header.fields[i].whole);
    buf_str(&out, STR("\r\n"));
    buf_str(&out, str_from_index(message, header.body_at));
    result.message = str_copy(arena, buf_view(&out));
    *ret = result;
    return 0;
}
