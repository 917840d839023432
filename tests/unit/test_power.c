// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <errno.h>

#include "arch/arm64/layout.h"
#include "tests/fake/one_timer.h"
#include "vmm/base/clock.h"
#include "vmm/core/bus.h"
#include "vmm/machine/internal.h"

#define DATA (LAYOUT_GPIO + (4 << LAYOUT_GPIO_POWER))

static struct config cfg;
static struct machine m;
static unsigned stops;
static enum stop_reason reason;
static int signo;

/* Instead of machine.c, and line.c: what is asked of them. */
void machine_stop(struct machine *of, enum stop_reason why, int by, const char *text)
{
	ck_assert_ptr_eq(of, &m);
	ck_assert_ptr_null(text);
	if (stops++)
		return;
	reason = why;
	signo = by;
}

void line_init(struct line *l, struct gsi_space *space, uint32_t spi, const char *label)
{
	(void)space, (void)label;
	l->spi = spi;
}

static void start(uint64_t grace_ns)
{
	cfg.grace_ns = grace_ns;
	m.cfg = &cfg;
	ck_assert_int_eq(bus_new(&m.bus), 0);
	ck_assert_int_eq(power_new(&m), 0);
	ck_assert_uint_eq(m.power.line.spi, LAYOUT_SPI_GPIO);
}

static void end(void)
{
	power_free(&m);
	bus_free(m.bus);
}

static bool is_down(void)
{
	return bus_read(m.bus, DATA, 4) != 0;
}

START_TEST(test_power_press_holds_the_key_and_lets_go)
{
	start(10 * NS_PER_SEC);
	ck_assert(!is_down());
	machine_press_power(&m, 15);
	ck_assert(is_down());
	ck_assert_uint_eq(one_timer.delay_ns, NS_PER_SEC / 2);
	one_timer_fire();
	ck_assert(!is_down());
	ck_assert_uint_eq(stops, 0);
	end();
}
END_TEST

/* A guest that was still booting did not hear the first one. The time of --grace counts from there. */
START_TEST(test_power_is_pressed_anew_until_the_time_is_over)
{
	uint64_t passed = 0;
	unsigned presses = 0;

	start(10 * NS_PER_SEC);
	machine_press_power(&m, 15);
	while (!stops && passed < 20 * NS_PER_SEC) {
		presses += is_down();
		passed += one_timer.delay_ns;
		one_timer_fire();
	}
	ck_assert_uint_eq(presses, 5);
	ck_assert_uint_eq(passed, 10 * NS_PER_SEC);
	ck_assert_int_eq(reason, STOP_GRACE);
	ck_assert_int_eq(signo, 15);
	end();
}
END_TEST

START_TEST(test_power_second_signal_ends_at_once)
{
	start(10 * NS_PER_SEC);
	machine_press_power(&m, 15);
	machine_press_power(&m, 2);
	ck_assert_uint_eq(stops, 1);
	ck_assert_int_eq(reason, STOP_SIGNAL);
	ck_assert_int_eq(signo, 2);
	ck_assert_int_eq(m.power.signo, 15);
	end();
}
END_TEST

START_TEST(test_power_short_grace_is_kept)
{
	start(NS_PER_SEC / 4);
	machine_press_power(&m, 2);
	ck_assert_uint_eq(one_timer.delay_ns, NS_PER_SEC / 4);
	one_timer_fire();
	ck_assert_int_eq(reason, STOP_GRACE);
	ck_assert_uint_eq(stops, 1);
	end();
}
END_TEST

START_TEST(test_power_without_grace_first_signal_ends)
{
	start(0);
	ck_assert_ptr_null(one_timer.t);
	machine_press_power(&m, 15);
	ck_assert(!is_down());
	ck_assert_uint_eq(stops, 1);
	ck_assert_int_eq(reason, STOP_SIGNAL);
	ck_assert_int_eq(m.power.signo, 0);
	end();
}
END_TEST

START_TEST(test_power_half_made_is_freed)
{
	cfg.grace_ns = NS_PER_SEC;
	m.cfg = &cfg;
	one_timer.init_result = -EMFILE;
	ck_assert_int_eq(bus_new(&m.bus), 0);
	ck_assert_int_eq(power_new(&m), -EMFILE);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("power");
	TCase *tc = tcase_create("power");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_power_press_holds_the_key_and_lets_go);
	tcase_add_test(tc, test_power_is_pressed_anew_until_the_time_is_over);
	tcase_add_test(tc, test_power_second_signal_ends_at_once);
	tcase_add_test(tc, test_power_short_grace_is_kept);
	tcase_add_test(tc, test_power_without_grace_first_signal_ends);
	tcase_add_test(tc, test_power_half_made_is_freed);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
