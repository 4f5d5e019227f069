/* Any texts in an alert. What is told of it is one JSON object, and a mail whose header is ours alone. */
#include "alert/telling.h"
#include "alert/item.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "must.h"
#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { TEXT_ENDS = 0x1e };

static struct str next(struct str *rest) {
    struct str text;
    return str_cut(rest, TEXT_ENDS, &text) ? text : STR("");
}

static void check_mail(struct str mail) {
    static const char *const names[] = {"From",
                                        "To",
                                        "Subject",
                                        "Date",
                                        "Message-ID",
                                        "MIME-Version",
                                        "Content-Type",
                                        "Content-Transfer-Encoding",
                                        "Auto-Submitted",
                                        "X-Sluice-Alert",
                                        "X-Sluice-Alert-Id",
                                        "X-Auto-Response-Suppress"};
    struct arena *arena = arena_new(0);
    struct header header;
    must(header_parse(arena, mail, 0, &header) == 0 && header.separated && !bytes_8bit(header.whole));
    for (size_t i = 0; i < header.count; i++) {
        bool known = false;
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
            known |= str_eq(header.fields[i].name, str_of(names[n]));
        must(known);
    }
    must(bytes_utf8(mail));
    for (size_t i = 0, line = 0; i < mail.len; i++, line++) {
        must(mail.at[i] != 0 && (mail.at[i] != '\n' || mail.at[i - 1] == '\r'));
        must(mail.at[i] != '\r' || (i + 1 < mail.len && mail.at[i + 1] == '\n'));
        line = mail.at[i] == '\n' ? 0 : line;
        must(line <= 998);
    }
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct str rest = str_from(bytes, len), to[] = {STR("ops@example.net"), STR("it@contoso.com")};
    uint8_t how = len ? bytes[0] : 0;
    struct alert alert = {.kind = (enum alert_kind)(1 + how % (ALERT_KINDS - 1)),
                          .now = INT64_C(1790000000000)};
    alert.subject = next(&rest), alert.tenant = next(&rest), alert.text = next(&rest);
    alert.advice = next(&rest), alert.samples = next(&rest);
    struct alert_item *item = alert_item_new(&alert);
    struct telling t = {.event = (enum telling_event)(how / 8 % 5),
                        .id = 7,
                        .kind = item->alert.kind,
                        .subject = item->alert.subject,
                        .tenant = item->alert.tenant,
                        .text = item->alert.text,
                        .advice = item->alert.advice,
                        .samples = item->alert.samples,
                        .node = STR("mta.example.net"),
                        .count = len,
                        .unsaid = how,
                        .first = alert.now,
                        .last = alert.now,
                        .now = alert.now};
    struct arena *arena = arena_new(0);
    struct buf out = {0};
    telling_json(&out, &t, telling_call(arena, &t));
    json_t *object = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, NULL);
    must(json_is_object(object) && !memchr(out.at, '\n', out.len));
    json_decref(object);
    buf_clear(&out);
    telling_mail(&out, &t, STR("sluice@example.net"), to, 1 + how % 2);
    check_mail(buf_view(&out));
    buf_free(&out);
    arena_free(arena);
    free(item);
    return 0;
}
