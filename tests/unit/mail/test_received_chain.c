#include "cmocka_setup.h"
#include "mail/received.h"
#include "mail/received_chain.h"

#define DATE "; Sun, 22 Nov 2026 04:43:29 +0000"

static const struct {
    const char *value;
    const char *ip; /* NULL: not certain */
    const char *helo, *name, *by;
} cases[] = {
    /* Postfix */
    {"from mail.sender.test (mx1.sender.test [192.0.2.1])\r\n\tby mx.contoso.com (Postfix) with ESMTP id "
     "4XyZ\r\n\tfor "
     "<bob@contoso.com>" DATE,
     "192.0.2.1", "mail.sender.test", "mx1.sender.test", "mx.contoso.com"},
    {"from mail.sender.test (unknown [IPv6:2001:db8::25])\r\n\t(using TLSv1.3 with cipher "
     "TLS_AES_256_GCM_SHA384 (256/256 "
     "bits)\r\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n\t(No "
     "client "
     "certificate requested)\r\n\tby mx.contoso.com (Postfix) with ESMTPS id 4XyZ" DATE,
     "2001:db8::25", "mail.sender.test", "", "mx.contoso.com"},
    {"from [192.168.1.5] (dsl-9.isp.test [203.0.113.9]) (Authenticated sender: u@x.test) by mx.x.test "
     "(Postfix) with "
     "ESMTPSA id 1" DATE,
     "203.0.113.9", "[192.168.1.5]", "dsl-9.isp.test", "mx.x.test"},
    {"from a.test (b.test [192.0.2.1]) (Client CN \"[198.51.100.1]\", Issuer \"CA 198.51.100.2\" (verified "
     "OK)) by c.test "
     "(Postfix) with ESMTPS id 1" DATE,
     "192.0.2.1", "a.test", "b.test", "c.test"},
    {"from localhost (localhost [127.0.0.1]) by mx.x.test (Postfix) with ESMTP id 2" DATE, "127.0.0.1",
     "localhost", "localhost", "mx.x.test"},
    {"by mx.x.test (Postfix, from userid 1000) id 3" DATE, NULL, NULL, NULL, NULL},
    {"from a.test (unknown [unknown]) by mx.x.test (Postfix) with SMTP id 4" DATE, NULL, NULL, NULL, NULL},
    {"from [198.51.100.1] (unknown [unknown]) by mx.x.test (Postfix) with SMTP id 4" DATE, NULL, NULL, NULL,
     NULL},
    /* Exim */
    {"from mail.sender.test ([192.0.2.1])\r\n\tby mx.x.test with esmtps  (TLS1.3) tls "
     "TLS_AES_256_GCM_SHA384\r\n\t(Exim "
     "4.96)\r\n\t(envelope-from <a@sender.test>)\r\n\tid 1rABCD-0001Ab-2C\r\n\tfor bob@x.test" DATE,
     "192.0.2.1", "mail.sender.test", "", "mx.x.test"},
    {"from mx1.sender.test ([192.0.2.1] helo=mail.sender.test) by mx.x.test with esmtp (Exim 4.96) id 1" DATE,
     "192.0.2.1", "mail.sender.test", "mx1.sender.test", "mx.x.test"},
    {"from mx1.sender.test ([192.0.2.1]:53422 helo=[10.0.0.7]) by mx.x.test with esmtp (Exim 4.96) id 1" DATE,
     "192.0.2.1", "[10.0.0.7]", "mx1.sender.test", "mx.x.test"},
    {"from [192.0.2.1] (helo=mail.sender.test) by mx.x.test with smtp (Exim 4.96) id 1" DATE, "192.0.2.1",
     "mail.sender.test", "", "mx.x.test"},
    {"from [192.0.2.1] (port=4242 helo=mail.sender.test) by mx.x.test with smtp (Exim 4.96) id 1" DATE,
     "192.0.2.1", "mail.sender.test", "", "mx.x.test"},
    {"from [192.0.2.1] by mx.x.test with smtp (Exim 4.96) id 1" DATE, "192.0.2.1", "[192.0.2.1]", "",
     "mx.x.test"},
    {"from [2001:db8::1] (helo=a.test) by mx.x.test with esmtp (Exim 4.96) id 1" DATE, "2001:db8::1",
     "a.test", "", "mx.x.test"},
    {"from root by mx.x.test with local (Exim 4.96) (envelope-from <root@x.test>) id 1" DATE, NULL, NULL,
     NULL, NULL},
    /* Sendmail */
    {"from mail.sender.test (mx1.sender.test [192.0.2.1])\r\n\tby mx.x.test (8.17.1/8.17.1) with ESMTPS id "
     "3A\r\n\t"
     "(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NO)\r\n\tfor <bob@x.test>" DATE,
     "192.0.2.1", "mail.sender.test", "mx1.sender.test", "mx.x.test"},
    {"from mail.sender.test (mx1.sender.test [192.0.2.1] (may be forged)) by mx.x.test (8.17.1/8.17.1) with "
     "ESMTP id 3A" DATE,
     "192.0.2.1", "mail.sender.test", "mx1.sender.test", "mx.x.test"},
    {"from mail.sender.test (IDENT:nobody@mx1.sender.test [192.0.2.1]) by mx.x.test (8.9.3/8.9.3) with SMTP "
     "id 3A" DATE,
     "192.0.2.1", "mail.sender.test", "mx1.sender.test", "mx.x.test"},
    {"from mail.sender.test ([IPv6:2001:db8:0:0:0:0:0:1]) by mx.x.test (8.17.1/8.17.1) with ESMTP id 3A" DATE,
     "2001:db8::1", "mail.sender.test", "", "mx.x.test"},
    {"(from root@localhost) by mx.x.test (8.17.1/8.17.1/Submit) id 3A" DATE, NULL, NULL, NULL, NULL},
    /* qmail */
    {"from unknown (HELO mail.sender.test) (192.0.2.1)\r\n  by mx.x.test with SMTP" DATE, "192.0.2.1",
     "mail.sender.test", "", "mx.x.test"},
    {"from mx1.sender.test (HELO [10.0.0.7]) (192.0.2.1)\r\n  by mx.x.test with SMTP" DATE, "192.0.2.1",
     "[10.0.0.7]", "mx1.sender.test", "mx.x.test"},
    {"from mx1.sender.test (192.0.2.1) by mx.x.test with SMTP" DATE, "192.0.2.1", "mx1.sender.test", "",
     "mx.x.test"},
    {"from unknown (HELO a.test) (user@x@192.0.2.1) by mx.x.test with ESMTPA" DATE, "192.0.2.1", "a.test", "",
     "mx.x.test"},
    {"(qmail 4711 invoked from network)" DATE, NULL, NULL, NULL, NULL},
    {"(qmail 4711 invoked by uid 89)" DATE, NULL, NULL, NULL, NULL},
    /* Exchange, Microsoft 365 */
    {"from AM0PR05MB1234.eurprd05.prod.outlook.test (2001:db8:208:1::14)\r\n by "
     "VI1PR05MB1234.eurprd05.prod.outlook.test "
     "(2001:db8:800:1::15) with Microsoft SMTP\r\n Server (version=TLS1_2, "
     "cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.7472.5" DATE,
     "2001:db8:208:1::14", "AM0PR05MB1234.eurprd05.prod.outlook.test", "",
     "VI1PR05MB1234.eurprd05.prod.outlook.test"},
    {"from mail.sender.test (192.0.2.1) by AM5EUR03FT012.mail.protection.outlook.test (10.152.16.161) with "
     "Microsoft SMTP "
     "Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.7472.5 via Frontend "
     "Transport" DATE,
     "192.0.2.1", "mail.sender.test", "", "AM5EUR03FT012.mail.protection.outlook.test"},
    {"from ex02.contoso.local (10.0.0.5) by ex01.contoso.local (10.0.0.4) with Microsoft SMTP Server id "
     "15.1.2507.6 via "
     "Mailbox Transport" DATE,
     "10.0.0.5", "ex02.contoso.local", "", "ex01.contoso.local"},
    {"from ex02.contoso.local ([fe80::1c2d:3e4f%7]) by ex01.contoso.local ([fe80::5%14]) with mapi id "
     "15.1" DATE,
     "fe80::1c2d:3e4f", "ex02.contoso.local", "", "ex01.contoso.local"},
    {"from mail.sender.test ([192.0.2.1]) by exch.x.test with Microsoft SMTPSVC(6.0.3790.4675)" DATE,
     "192.0.2.1", "mail.sender.test", "", "exch.x.test"},
    /* Gmail */
    {"from mail-sor-f41.sender.test (mail-sor-f41.sender.test. [192.0.2.41])\r\n        by mx.google.test "
     "with SMTPS id "
     "d75\r\n        for <bob@x.test>\r\n        (Google Transport Security)" DATE,
     "192.0.2.41", "mail-sor-f41.sender.test", "mail-sor-f41.sender.test", "mx.google.test"},
    {"from [192.168.1.5] ([203.0.113.9]) by smtp.google.test with ESMTPSA id x9" DATE, "203.0.113.9",
     "[192.168.1.5]", "", "smtp.google.test"},
    {"by 2001:db8:a05:6402::1 with SMTP id x9" DATE, NULL, NULL, NULL, NULL},
    /* Others */
    {"from mail.sender.test (HELO mail.sender.test) ([192.0.2.1])\r\n  by esa1.x.test with "
     "ESMTP/TLS/ECDHE-RSA-AES256" DATE,
     "192.0.2.1", "mail.sender.test", "mail.sender.test", "esa1.x.test"},
    {"from [192.0.2.1] (using TLSv1.2 with cipher ECDHE (256 bits)) by server-5.lab.test id AB" DATE,
     "192.0.2.1", "[192.0.2.1]", "", "server-5.lab.test"},
    {"from [192.0.2.1] (account u@x.test HELO [10.0.0.7]) by mail.x.test (CommuniGate Pro SMTP 6.3) with "
     "ESMTPSA id 9" DATE,
     "192.0.2.1", "[10.0.0.7]", "", "mail.x.test"},
    {"from mail.sender.test [192.0.2.1] by mx.x.test (MDaemon) with ESMTP id 1" DATE, "192.0.2.1",
     "mail.sender.test", "", "mx.x.test"},
    {"from 198.51.100.9  (EHLO mail.sender.test) (192.0.2.1) by mta.x.test with SMTPs" DATE, "192.0.2.1",
     "mail.sender.test", "198.51.100.9", "mta.x.test"},
    {"from a.test (b.test [::ffff:192.0.2.1]) (IDENT: x, AUTH: LOGIN y) by c.test with ESMTP" DATE,
     "192.0.2.1", "a.test", "b.test", "c.test"},
    {"from a.test (LHLO a.test) (10.0.0.5) by c.test with LMTP" DATE, "10.0.0.5", "a.test", "a.test",
     "c.test"},
    {"FROM by (By.test [192.0.2.1]) BY with.test With SMTP" DATE, "192.0.2.1", "by", "By.test", "with.test"},
    {"from a.test (a comment (nested \\) [198.51.100.1]) \\( [192.0.2.1]) by b.test" DATE, "192.0.2.1",
     "a.test", "\\(", "b.test"},
    {"from a.test (b.test [192.0.2.1]) by c.test; Sun, 22 Nov 2026 04:43:29 +0000 (UTC)", "192.0.2.1",
     "a.test", "b.test", "c.test"},
    {"from a.test (b.test [192.0.2.1]) by c.test", "192.0.2.1", "a.test", "b.test", "c.test"},
    {"from a.test (b.test [192.0.2.1])", NULL, NULL, NULL, NULL},
    {"from a.test (b.test [192.0.2.1]) by (c.test)", NULL, NULL, NULL, NULL},
    /* A client that may say anything in HELO: never its own address. */
    {"from [198.51.100.1] by evil.test (unknown [192.0.2.1]) by mx.x.test (Postfix) with SMTP id 1" DATE,
     NULL, NULL, NULL, NULL},
    {"from [198.51.100.1] with SMTP (unknown [192.0.2.1]) by mx.x.test (Postfix) with SMTP id 1" DATE, NULL,
     NULL, NULL, NULL},
    {"from x [198.51.100.1] (unknown [192.0.2.1]) by mx.x.test (Postfix) with SMTP id 1" DATE, "192.0.2.1",
     "x", "", "mx.x.test"},
    {"from x ([198.51.100.1]) (unknown [192.0.2.1]) by mx.x.test (Postfix) with SMTP id 1" DATE, NULL, NULL,
     NULL, NULL},
    {"from x (unknown [192.0.2.1]) by mx.x.test for y from z by w" DATE, NULL, NULL, NULL, NULL},
    {"from [198.51.100.1] (helo [192.0.2.1] (may be forged)) by mx.x.test (8.17.1/8.17.1) with ESMTP id "
     "1" DATE,
     NULL, NULL, NULL, NULL},
    {"from [198.51.100.1] (using [192.0.2.1]) by mx.x.test (8.17.1/8.17.1) with ESMTP id 1" DATE, "192.0.2.1",
     "[198.51.100.1]", "using", "mx.x.test"},
    {"from [198.51.100.1]; (unknown [192.0.2.1]) by mx.x.test with SMTP" DATE, NULL, NULL, NULL, NULL},
    {"from [198.51.100.1] by x; (unknown [192.0.2.1]) by mx.x.test with SMTP" DATE, NULL, NULL, NULL, NULL},
    {"from 198.51.100.1 by mx.x.test with SMTP" DATE, NULL, NULL, NULL, NULL},
    /* What can't be read */
    {"", NULL, NULL, NULL, NULL},
    {"from", NULL, NULL, NULL, NULL},
    {"from a.test", NULL, NULL, NULL, NULL},
    {"from a.test by b.test" DATE, NULL, NULL, NULL, NULL},
    {"from a.test (b.test [192.0.2.1]", NULL, NULL, NULL, NULL},
    {"from a.test (b.test [192.0.2.1])) by c.test" DATE, "192.0.2.1", "a.test", "b.test", "c.test"},
    {"from \"a.test (b.test [192.0.2.1])", NULL, NULL, NULL, NULL},
    {"from a.test (b.test [192.0.2.300]) by c.test" DATE, NULL, NULL, NULL, NULL},
    {"from a.test (b.test [::]) by c.test" DATE, NULL, NULL, NULL, NULL},
    {"from (b.test [192.0.2.1]) by c.test" DATE, NULL, NULL, NULL, NULL},
    {DATE, NULL, NULL, NULL, NULL},
};

static void test_forms(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct received_client client = {0};
        char text[IP_TEXT_SIZE];
        bool read = received_client(arena, str_of(cases[i].value), &client);
        if (read != (cases[i].ip != NULL))
            print_error("%s\n", cases[i].value);
        assert_int_equal(read, cases[i].ip != NULL);
        if (read) {
            assert_string_equal(ip_text(&client.ip, text), cases[i].ip);
            assert_string_equal(str_c(arena, client.helo), cases[i].helo);
            assert_string_equal(str_c(arena, client.name), cases[i].name);
            assert_string_equal(str_c(arena, client.by), cases[i].by);
        }
        arena_free(arena);
    }
}

/* What we write, we read. */
static void test_own(void **state) {
    static const char *const clients[] = {"192.0.2.1", "2001:db8::25"};
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(clients); i++) {
        struct arena *arena = arena_new(0);
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        struct header header;
        struct received_client client;
        char text[IP_TEXT_SIZE];
        struct received_facts facts = {
            .helo = STR("[198.51.100.1] by x (y [198.51.100.2])"),
            .client_name = i & 1 ? STR("mx1.sender.test") : STR(""),
            .client_ip = str_of(clients[i / 2]),
            .by = STR("mta01.example.net"),
            .smtp = true,
            .tls = i & 1,
            .tls_version = STR("TLSv1.3"),
            .tls_cipher = STR("TLS_AES_256_GCM_SHA384"),
            .trace_id = STR("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            .recipient = STR("\"by from (\"@x.test"),
        };
        received_write(&out, &facts);
        assert_int_equal(header_parse(arena, buf_view(&out), 0, &header), 0);
        assert_int_equal(header.count, 1);
        assert_true(received_client(arena, header.fields[0].value, &client));
        assert_string_equal(ip_text(&client.ip, text), clients[i / 2]);
        assert_string_equal(str_c(arena, client.by), "mta01.example.net");
        assert_true(str_eq(client.name, facts.client_name));
        arena_free(arena);
    }
}

/* Any bytes, many of them. */
static void test_long(void **state) {
    static const char *const pieces[] = {"(",         "from a (",      "from a (b [",
                                         "from a \"", "from a (HELO ", "from a (b [192.0.2.1]) "};
    (void)state;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct arena *arena = arena_new(0);
        struct buf text __attribute__((cleanup(buf_free))) = {0};
        struct received_client client;
        while (text.len < 200000)
            buf_str(&text, str_of(pieces[i]));
        assert_false(received_client(arena, buf_view(&text), &client));
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms), cmocka_unit_test(test_own),
                                       cmocka_unit_test(test_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
