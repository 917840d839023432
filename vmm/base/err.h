/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * err - the one sentence a user reads when something cannot be done
 *
 * What:   a negative errno with a text "object: cause (remedy)".
 * Not:    printing: the caller that gives up prints it, once (see log.h).
 * Trust:  arguments may hold any bytes, of file names for instance.
 * Thread: an err belongs to one thread.
 */
#ifndef VMM_BASE_ERR_H
#define VMM_BASE_ERR_H

struct err {
	char text[512]; /* NUL-terminated, one line, no trailing full stop or newline */
};

/*
 * Stores the formatted sentence in @e (which may be NULL) and returns @code, so that
 * "return err_set(e, -EINVAL, ...)" reads well. Control characters that come in through
 * file names and the like are replaced by '?', so the result is one line.
 */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
