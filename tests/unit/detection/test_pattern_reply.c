/* Replies against our own table and, when they are there, the public bounce lines. */
#include "../smtp/vectors.h"
#include "cmocka_setup.h"
#include "detection/pattern_reply.h"

#include <stdlib.h>

struct reply_case {
    int code;
    const char *enhanced, *text;
    enum reply_kind kind;
};

static const struct reply_case cases[] = {
    {250, "2.0.0", "ok", REPLY_DELIVERED},
    {550, "5.1.1", "whatever it says", REPLY_UNKNOWN},
    {550, "5.1.10", "RESOLVER.ADR.RecipientNotFound", REPLY_UNKNOWN},
    {550, "5.1.0", "Address rejected. User unknown", REPLY_UNKNOWN},
    {550, "5.1.0", "192.0.2.222 is not allowed to send from <a.example> per its SPF record", REPLY_OTHER},
    {550, "", "no such user here", REPLY_UNKNOWN},
    {550, "", "Unknown user bob@example.jp", REPLY_UNKNOWN},
    {551, "", "not our user", REPLY_UNKNOWN},
    {554, "", "delivery error: dd This user doesn't have an account (bob@example.com)", REPLY_UNKNOWN},
    {550, "5.2.1", "<bob@example.jp>... User Unknown", REPLY_UNKNOWN},
    {550, "5.2.1", "The email account that you tried to reach is disabled", REPLY_OTHER},
    {552, "5.2.2", "mailbox full", REPLY_OTHER},
    {550, "5.1.2", "domain not found", REPLY_OTHER},
    {550, "5.1.8", "sender denied", REPLY_OTHER},
    {550, "5.7.1", "Message rejected as spam", REPLY_SPAM},
    {550, "5.7.1", "Our system has detected that this message is likely unsolicited mail", REPLY_SPAM},
    {554, "", "Transaction failed, spam message not queued", REPLY_SPAM},
    {550, "5.7.1", "Message content rejected, UBE, id=1", REPLY_SPAM},
    {554, "5.7.1",
     "likely suspicious due to the very low reputation of the sending IP address. To protect from spam",
     REPLY_OTHER},
    {550, "5.7.1", "Service unavailable, Client host [192.0.2.1] blocked using Spamhaus for spam",
     REPLY_OTHER},
    {550, "5.7.1", "spam source: 192.0.2.1 is listed at bl.example", REPLY_OTHER},
    {550, "5.7.26", "unauthenticated mail, DMARC; we get too much spam", REPLY_OTHER},
    {550, "5.7.1", "Relaying denied", REPLY_OTHER},
    {550, "5.7.1", "Try the Cuber mailing list instead", REPLY_OTHER},
    {0, "5.4.4", "Host not found", REPLY_OTHER},
    {550, "5.4.300", "The message expired; the last reason was: 450 4.1.1 user unknown", REPLY_OTHER},
};

static void test_table(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct outcome o = {.fate = cases[i].code == 250 ? OUTCOME_DONE : OUTCOME_NEVER,
                            .code = cases[i].code,
                            .enhanced = str_of(cases[i].enhanced),
                            .text = str_of(cases[i].text),
                            .remote = true};
        if (reply_kind(&o) != cases[i].kind)
            fail_msg("%d %s %s: %d", cases[i].code, cases[i].enhanced, cases[i].text, reply_kind(&o));
    }
}

/* "550 5.1.1 text": the parts that a client session would give. */
static struct outcome outcome_of(struct str line) {
    struct outcome o = {.fate = OUTCOME_NEVER, .remote = true, .enhanced = STR("")};
    struct str rest = line, word;
    o.text = line;
    if (str_cut(&rest, ' ', &word) && word.len == 3) {
        o.code = atoi(word.at);
        o.text = rest;
        if (rest.len > 5 && rest.at[0] == '5' && rest.at[1] == '.' && str_cut(&rest, ' ', &word)) {
            o.enhanced = word;
            o.text = rest;
        }
    }
    return o;
}

/* Permanent lines whose label is another one never count against the sender; of those with one of ours most
 * are recognised. */
static void test_vectors(void **unused) {
    static const char *const files[] = {"bounce-text/sisimai/provider-lines.jsonl",
                                        "bounce-text/sisimai/reason-lines.jsonl"};
    unsigned known = 0, labelled = 0, wrong = 0, others = 0;
    (void)unused;
    for (size_t f = 0; f < COUNT(files); f++) {
        char line[4000];
        FILE *file = vectors_open(files[f]);
        if (!file)
            skip();
        while (fgets(line, sizeof line, file)) {
            struct str reason = STR_NULL, text = STR_NULL;
            assert_true(vectors_field(line, "reason", &reason) && vectors_field(line, "line", &text));
            struct outcome o = outcome_of(text);
            if (o.code < 500)
                continue;
            enum reply_kind want = str_eq(reason, STR("userunknown"))    ? REPLY_UNKNOWN
                                   : str_eq(reason, STR("spamdetected")) ? REPLY_SPAM
                                                                         : REPLY_OTHER;
            enum reply_kind got = reply_kind(&o);
            bool near = str_eq(reason, STR("virusdetected")) || str_eq(reason, STR("filtered")) ||
                        str_eq(reason, STR("policyviolation")) || str_eq(reason, STR("contenterror"));
            labelled += want != REPLY_OTHER;
            known += want != REPLY_OTHER && got == want;
            others += want == REPLY_OTHER;
            if (got != want && got != REPLY_OTHER && !near) {
                print_message("%.*s: %.*s\n", STR_FMT(reason), STR_FMT(text));
                wrong++;
            }
        }
        fclose(file);
    }
    print_message("%u of %u recognised, %u of %u others taken for one of them\n", known, labelled, wrong,
                  others);
    assert_true(known * 10 >= labelled * 7);
    assert_true(wrong * 50 <= others);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
