/* Any envelope in what scanners are told of it. The input's lines are the values. No value writes a line of
 * its own into a request, or ends its head. */
#include "must.h"
#include "scan/rspamd.h"
#include "scan/settings.h"
#include "scan/spamd.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { VALUE_ENDS = 0x1e };

static struct str next(struct str *rest) {
    struct str value;
    return str_cut(rest, VALUE_ENDS, &value) ? value : STR("");
}

static bool known(struct str name) {
    static const char *const names[] = {
        "Host",        "Connection", "Content-Length", "Password", "Queue-Id", "From",     "Rcpt",
        "Deliver-To",  "IP",         "Helo",           "Hostname", "User",     "MTA-Name", "MTA-Tag",
        "TLS-Version", "TLS-Cipher", "Content-length"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

static void check(struct str head, const char *first) {
    struct str line, name;
    must(str_ends(head, STR("\r\n\r\n")));
    head.len -= 4;
    for (size_t i = 0; i < head.len; i++)
        must((unsigned char)head.at[i] >= ' ' || head.at[i] == '\r' || head.at[i] == '\n');
    for (size_t number = 0; str_cut(&head, '\n', &line); number++) {
        if (str_ends(line, STR("\r")))
            line.len--;
        else
            must(!head.len); /* the last one, whose end was taken off */
        must(!memchr(line.at, '\r', line.len));
        if (number == 0)
            must(str_eq(line, str_of(first)));
        else
            must(str_cut(&line, ':', &name) && known(name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct str rest = str_from(bytes, len);
    struct buf out = {0};
    struct scanner_settings s = {.name = STR("s"), .at = {.text = STR("127.0.0.1:11333")}};
    s.password = next(&rest);
    s.user = next(&rest);
    struct str recipients[3] = {next(&rest), next(&rest), next(&rest)};
    struct scan_facts facts = {.trace_id = next(&rest),
                               .node = next(&rest),
                               .helo = next(&rest),
                               .hostname = next(&rest),
                               .user = next(&rest),
                               .tenant = next(&rest),
                               .reverse_path = next(&rest),
                               .recipients = recipients,
                               .recipient_count = 1 + 2 * (len % 2),
                               .tls_version = next(&rest),
                               .tls_cipher = next(&rest)};
    rspamd_request(&out, &s, &facts, len);
    check(buf_view(&out), "POST /checkv2 HTTP/1.1");
    buf_clear(&out);
    spamd_request(&out, &s, len);
    check(buf_view(&out), "SYMBOLS SPAMC/1.5");
    buf_free(&out);
    return 0;
}
