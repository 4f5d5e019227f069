#include "mail/received.h"
#include "base/clock.h"
#include "mail/mime.h"

/* A client's word can't close our comment or start a clause. */
static void write_word(struct buf *out, struct str word) {
    for (size_t i = 0; i < word.len && i < 255; i++) {
        char c = word.at[i];
        bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    (c && strchr(".-_:[]", c));
        buf_char(out, safe ? c : '?');
    }
}

static void write_client(struct buf *out, const struct received_facts *f) {
    buf_str(out, STR("from "));
    write_word(out, f->helo.len ? f->helo : STR("unknown"));
    buf_str(out, STR(" ("));
    if (f->client_name.len) {
        write_word(out, f->client_name);
        buf_char(out, ' ');
    }
    buf_str(out, str_index(f->client_ip, ':') >= 0 ? STR("[IPv6:") : STR("["));
    write_word(out, f->client_ip);
    buf_str(out, STR("])\r\n\t"));
    if (f->tls && f->tls_version.len) {
        buf_str(out, STR("(using "));
        write_word(out, f->tls_version);
        buf_str(out, STR(" with cipher "));
        write_word(out, f->tls_cipher.len ? f->tls_cipher : STR("unknown"));
        buf_str(out, STR(")\r\n\t"));
    }
}

static void write_protocol(struct buf *out, const struct received_facts *f) {
    if (!f->smtp) {
        buf_str(out, f->client_ip.len ? STR("HTTP") : STR("LOCAL"));
        return;
    }
    buf_str(out, f->utf8 ? STR("UTF8SMTP") : f->ehlo ? STR("ESMTP") : STR("SMTP"));
    if (f->utf8 || f->ehlo) {
        buf_str(out, f->tls ? STR("S") : STR(""));
        buf_str(out, f->auth ? STR("A") : STR(""));
    }
}

void received_write(struct buf *out, const struct received_facts *f) {
    char date[CLOCK_RFC5322_SIZE];
    buf_str(out, STR("Received: "));
    if (f->client_ip.len)
        write_client(out, f);
    buf_str(out, STR("by "));
    write_word(out, f->by);
    buf_str(out, STR(" (Sluice) with "));
    write_protocol(out, f);
    buf_str(out, STR(" id "));
    write_word(out, f->trace_id);
    if (f->recipient.len && (f->utf8 || !bytes_8bit(f->recipient))) {
        buf_str(out, STR("\r\n\tfor <"));
        buf_str(out, f->recipient);
        buf_str(out, STR(">"));
    }
    buf_printf(out, ";\r\n\t%s\r\n", clock_rfc5322(f->wall_ms, date));
}

size_t received_count(const struct header *h) { return header_count(h, STR("Received")); }
