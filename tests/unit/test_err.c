// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/err.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/text.h"

START_TEST(test_err_set_returns_code_and_text)
{
	struct err e;

	ck_assert_int_eq(err_set(&e, -EACCES, "disk%d: open '%s': %s", 0, "./a.img", "no"), -EACCES);
	ck_assert_str_eq(e.text, "disk0: open './a.img': no");
}
END_TEST

START_TEST(test_err_set_without_err_returns_code)
{
	ck_assert_int_eq(err_set(NULL, -EINVAL, "nobody reads %s", "this"), -EINVAL);
}
END_TEST

START_TEST(test_err_long_text_is_cut)
{
	char name[2000];
	struct err e;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	err_set(&e, -1, "%s", name);
	ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
}
END_TEST

START_TEST(test_err_control_characters_replaced)
{
	struct err e;

	err_set(&e, -1, "%s", "a\nb\033[2Jc\x7f\td");
	ck_assert_str_eq(e.text, "a?b?[2Jc??d");
}
END_TEST

static const struct {
	const char *in, *out;
} text_cases[] = {
	{ "", "" },
	{ "Gr\xc3\xbc\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x98\x80", "Gr\xc3\xbc\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x98\x80" },
	{ "\xc2\x9b" "31m", "??31m" },           /* C1: a terminal's CSI */
	{ "\xc2\xa0", "\xc2\xa0" },
	{ "\xc0\xaf", "??" },                    /* overlong */
	{ "\xe0\x9f\xbf", "???" },
	{ "\xf0\x8f\xbf\xbf", "????" },
	{ "\xed\xa0\x80", "???" },               /* surrogate */
	{ "\xed\x9f\xbf", "\xed\x9f\xbf" },
	{ "\xf4\x90\x80\x80", "????" },          /* above U+10FFFF */
	{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
	{ "\xf5\x80\x80\x80", "????" },
	{ "\xe2\x82", "??" },                    /* cut */
	{ "\xe2\x82x", "??x" },
	{ "\x80z", "?z" },
};

START_TEST(test_text_clean_table)
{
	char s[32];

	strcpy(s, text_cases[_i].in);
	text_clean(s);
	ck_assert_str_eq(s, text_cases[_i].out);
}
END_TEST

START_TEST(test_text_char_reads_no_further_than_told)
{
	ck_assert_uint_eq(text_char("\xc3\xbc", 2), 2);
	ck_assert_uint_eq(text_char("\xc3\xbc", 1), 0);
	ck_assert_uint_eq(text_char("a", 0), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("err");
	TCase *t = tcase_create("err");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, test_err_set_returns_code_and_text);
	tcase_add_test(t, test_err_set_without_err_returns_code);
	tcase_add_test(t, test_err_long_text_is_cut);
	tcase_add_test(t, test_err_control_characters_replaced);
	tcase_add_loop_test(t, test_text_clean_table, 0, sizeof(text_cases) / sizeof(text_cases[0]));
	tcase_add_test(t, test_text_char_reads_no_further_than_told);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
