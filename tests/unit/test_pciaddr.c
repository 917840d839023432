// SPDX-License-Identifier: BSD-3-Clause
/* pciaddr: the forms of a PCI device's address. */
#include "vmm/base/pciaddr.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "vmm/base/types.h"

START_TEST(test_pciaddr_forms)
{
	static const char *const bad[] = {
		"", "00", "00:01", "00:1.0", "00:20.0", "00:1f.8", "0000:00:01.0 ", "000:00:01.0", "0000:00:01", "g000:00:01.0",
		"0000:00:01.0,x", "-000:00:01.0", "123456789:00:01.0", "0000-00-01.0", "0x00:01.0", "0000:00:01.00",
	};
	char a[PCIADDR_SIZE];

	ck_assert_int_eq(pciaddr_parse("0000:00:01.0", a), 0);
	ck_assert_str_eq(a, "0000:00:01.0");
	ck_assert_int_eq(pciaddr_parse("AB:1F.7", a), 0);
	ck_assert_str_eq(a, "0000:ab:1f.7");
	ck_assert_int_eq(pciaddr_parse("10000:e1:00.0", a), 0);
	ck_assert_str_eq(a, "10000:e1:00.0");
	ck_assert_int_eq(pciaddr_parse("ffffffff:ff:1f.7", a), 0);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(pciaddr_parse(bad[i], a) == -EINVAL, "'%s' is taken", bad[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pciaddr");
	TCase *t = tcase_create("pciaddr");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, test_pciaddr_forms);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
