#include "delivery/suspicion_answers.h"
#include "acceptance/accept.h"
#include "base/clock.h"
#include "delivery/bounce.h"
#include "suspicion/suspicion.h"

static struct surge_event failure_of(struct suspicion_note *note, const struct spool_message *m,
                                     struct pattern_whose whose, const struct settle_recipient *r,
                                     enum reply_kind kind) {
    char ip[IP_TEXT_SIZE];
    const struct spool_recipient *to = spool_recipient_at(m, r->delivery->recipient, NULL);
    return (struct surge_event){
        .tenant = whose.tenant,
        .sender = whose.sender.len ? whose.sender : str_copy(note->arena, m->return_path),
        .connector = whose.connector,
        .host =
            str_copy(note->arena, ip_is_none(&m->client_ip) ? STR("") : str_of(ip_text(&m->client_ip, ip))),
        .kind = kind,
        .bad = str_eq(m->verdict, STR("spam")) || str_eq(m->verdict, STR("malware")),
        .trace_id = str_copy(note->arena, m->trace_id),
        .recipient = str_copy(note->arena, to->address),
        .reply = outcome_line(note->arena, &r->outcome),
        .now = clock_wall_ms(),
    };
}

void suspicion_settled(struct flow *flow, const struct spool_message *m, const struct settle_recipient *list,
                       size_t count, const struct ip *server) {
    struct suspicion_note *note = NULL;
    struct pattern_whose whose;
    uint32_t kinds[REPLY_OTHER + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        if (list[i].outcome.fate == OUTCOME_LATER || bounce_is_report(m) || !m->return_path.len)
            continue;
        if (!note) {
            if (!(note = suspicion_note_new(flow->suspicion)))
                return;
            struct str submitter = spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_SUBMITTER);
            whose = (struct pattern_whose){str_copy(note->arena, submitter), STR(""),
                                           str_copy(note->arena, m->tenant)};
            if (m->connector.len)
                whose.connector =
                    str_printf(note->arena, "%.*s/%.*s", STR_FMT(m->tenant), STR_FMT(m->connector));
            note->reports = arena_array(note->arena, struct surge_event, count);
        }
        enum reply_kind kind = reply_kind(&list[i].outcome);
        kinds[kind]++;
        if (kind != REPLY_DELIVERED)
            note->reports[note->report_count++] = failure_of(note, m, whose, &list[i], kind);
    }
    if (!note)
        return;
    /* Mail from outside has no sender here. */
    for (enum reply_kind kind = 0; kind <= REPLY_OTHER && whose.sender.len; kind++)
        if (kinds[kind])
            note->answers[note->answer_count++] =
                (struct pattern_answer){whose, kind, kinds[kind], clock_wall_ms(), pattern_receiver(server)};
    suspicion_note_post(note);
}
