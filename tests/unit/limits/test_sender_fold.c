/* Reverse-paths that are made anew for each message count as one sender, and no two senders' plain ones do.
 */
#include "limits/sender_fold.h"

#include "cmocka_setup.h"

static void test_folds(void **state) {
    static const struct {
        const char *path, *mailbox, *how;
    } cases[] = {
        /* As it is written. */
        {"bob@contoso.com", "bob@contoso.com"},
        {"\"bob\"@CONTOSO.com", "bob@contoso.com"},
        {"bob+offers@contoso.com", "bob@contoso.com"},
        {"bob+a+b@contoso.com", "bob@contoso.com"},
        {"+x@contoso.com", "+x@contoso.com"},
        {"bob@b\xc3\xbc"
         "cher.example",
         "bob@xn--bcher-kva.example"},
        {"", ""},
        {"<>", "<>"},
        {"no address", "no address"},
        /* VERP. */
        {"bounces+7-ann=example.org@contoso.com", "bounces@contoso.com", "VERP"},
        {"owner-list+ann=example.org@contoso.com", "owner-list@contoso.com", "VERP"},
        {"list-return-12-mary-ann=example.org@contoso.com", "list@contoso.com", "VERP"},
        {"my-list-return-12-ann=example.org@contoso.com", "my-list@contoso.com", "VERP"},
        {"my-list-bounces-ann=example.org@contoso.com", "my-list@contoso.com", "VERP"},
        {"my-list-return-12@contoso.com", "my-list@contoso.com", "VERP"},
        {"list-ann=mail.example.org@contoso.com", "list@contoso.com", "VERP"},
        {"bounce-mc.us1_123.456-ann=example.org@contoso.com", "bounce@contoso.com", "VERP"},
        {"Bounces-0188ab@contoso.com", "Bounces@contoso.com", "VERP"},
        {"bounce_17@contoso.com", "bounce@contoso.com", "VERP"},
        {"bounce-1-return-2@contoso.com", "bounce@contoso.com", "VERP"},
        {"returns.5@contoso.com", "returns@contoso.com", "VERP"},
        /* BATV. */
        {"prvs=0123456789=bob@contoso.com", "bob@contoso.com", "BATV"},
        {"PRVS=0123456789=Bob+x@contoso.com", "Bob@contoso.com", "BATV"},
        {"btv1==01ab==bob@contoso.com", "bob@contoso.com", "BATV"},
        {"msprvs1=17852abcX=bounces-123@contoso.com", "bounces@contoso.com", "VERP"},
        {"prvs=1=prvs=2=bob@contoso.com", "bob@contoso.com", "BATV"},
        {"prvs=12=SRS0=44ldt=IX=fabrikam.com=bob@contoso.com", "srs0@contoso.com", "SRS"},
        /* SRS: the domains in it are anybody's. */
        {"SRS0=44ldt=IX=fabrikam.com=bob@contoso.com", "srs0@contoso.com", "SRS"},
        {"srs0+44ldt=IX=fabrikam.com=bob@contoso.com", "srs0@contoso.com", "SRS"},
        {"SRS0-44ldt=IX=fabrikam.com=bob@contoso.com", "srs0@contoso.com", "SRS"},
        {"SRS1=aa=example.net==bb=IX=fabrikam.com=bob@contoso.com", "srs0@contoso.com", "SRS"},
        {"john.work+SRS=44ldt=IX=fabrikam.com=bob@contoso.com", "john.work@contoso.com", "SRS"},
        {"bounces+SRS=44ldt=IX@contoso.com", "bounces@contoso.com", "SRS"},
        /* Names that only look like it. */
        {"mary-ann@contoso.com", "mary-ann@contoso.com"},
        {"a=b@contoso.com", "a=b@contoso.com"},
        {"ann=example.org@contoso.com", "ann=example.org@contoso.com"},
        {"mary-ann=smith@contoso.com", "mary-ann=smith@contoso.com"},
        {"bounce-handler@contoso.com", "bounce-handler@contoso.com"},
        {"bounces@contoso.com", "bounces@contoso.com"},
        {"bouncer2@contoso.com", "bouncer2@contoso.com"},
        {"sales-return-desk@contoso.com", "sales-return-desk@contoso.com"},
        {"prvs=@contoso.com", "prvs=@contoso.com"},
        {"prvs=0123456789@contoso.com", "prvs=0123456789@contoso.com"},
        {"prvs==bob@contoso.com", "prvs==bob@contoso.com"},
        {"srs0@contoso.com", "srs0@contoso.com"},
        {"srs0x=1@contoso.com", "srs0x=1@contoso.com"},
        {"-return-1@contoso.com", "-return-1@contoso.com"},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *how;
        struct str folded = sender_fold(arena, str_of(cases[i].path), &how);
        assert_string_equal(str_c(arena, folded), cases[i].mailbox);
        if (cases[i].how)
            assert_string_equal(how, cases[i].how);
        else
            assert_null(how);
        assert_true(str_eq(sender_fold(arena, folded, NULL), folded));
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_folds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
