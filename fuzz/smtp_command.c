/* Any line as a command; what MAIL and RCPT make of it must be written again as something that reads the
 * same. */
#include "must.h"
#include "smtp/grammar.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool is_line(struct str s) {
    return str_ends(s, STR("\r\n")) && str_index(s, '\n') == (ptrdiff_t)s.len - 1 && !memchr(s.at, 0, s.len);
}

static void mail(struct arena *arena, struct str argument) {
    struct smtp_mail mail, again;
    struct buf out = {0};
    if (smtp_mail_parse(argument, ~0u, arena, &mail).code == 0) {
        must(smtp_mail_write(&out, &mail, ~0u) == 0 && is_line(buf_view(&out)));
        struct str line = str_from(out.at + 5, out.len - 7);
        must(smtp_mail_parse(line, ~0u, arena, &again).code == 0);
        must(str_eq(mail.reverse_path.whole, again.reverse_path.whole) && mail.size == again.size);
        must(mail.body == again.body && mail.smtputf8 == again.smtputf8 && mail.ret == again.ret);
        must(str_eq(mail.envid, again.envid) && str_eq(mail.auth, again.auth));
    }
    buf_free(&out);
}

static void rcpt(struct arena *arena, struct str argument, bool smtputf8) {
    struct smtp_rcpt rcpt, again;
    struct buf out = {0};
    if (smtp_rcpt_parse(argument, ~0u, smtputf8, arena, &rcpt).code == 0) {
        must(smtp_rcpt_write(&out, &rcpt, ~0u, smtputf8) == 0 && is_line(buf_view(&out)));
        struct str line = str_from(out.at + 5, out.len - 7);
        must(smtp_rcpt_parse(line, ~0u, smtputf8, arena, &again).code == 0);
        must(str_eq(rcpt.forward_path.whole, again.forward_path.whole) && rcpt.notify == again.notify);
        must(!again.orcpt.at || str_eq(rcpt.orcpt, again.orcpt));
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct smtp_command command;
    struct str line = str_from(bytes, len), decoded;
    if (smtp_command_parse(line, &command).code == 0) {
        mail(arena, command.argument);
        rcpt(arena, command.argument, false);
        rcpt(arena, command.argument, true);
    }
    struct buf out = {0};
    if (smtp_base64_decode(arena, line, &decoded)) {
        smtp_base64_encode(&out, decoded);
        must(str_eq(buf_view(&out), line));
    }
    buf_clear(&out);
    smtp_xtext_encode(&out, line);
    must(smtp_xtext_decode(arena, buf_view(&out), &decoded) && str_eq(decoded, line));
    buf_free(&out);
    arena_free(arena);
    return 0;
}
