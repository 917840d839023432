/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Check writes down each assertion that holds, so that it can name the last one before a crash: a system call each. In a
 * loop the place of the first round says as much, and a test of every offset and width takes a third of the time.
 */
void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);

void __wrap__mark_point(const char *file, int line)
{
	static __thread int recent[8];
	static __thread unsigned next;

	for (unsigned i = 0; i < 8; i++)
		if (recent[i] == line)
			return;
	recent[next++ % 8] = line;
	__real__mark_point(file, line);
}
