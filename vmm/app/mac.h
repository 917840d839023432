/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mac - the address of a network card that was given none
 *
 * What:   stable where it can be: the same host name and tap name give the same address, so
 *         that leases and neighbour tables survive a restart; others give another one.
 * Not:    whether somebody else on the network has it: two hosts of one name would.
 * Trust:  names of host and interface, any bytes.
 * Thread: any.
 * Source: IEEE 802 s8.4.
 */
#ifndef VMM_APP_MAC_H
#define VMM_APP_MAC_H

#include <stdint.h>

/*
 * A locally administered unicast address (IEEE 802 s8.4). @tap: the interface's name, or NULL
 * where only a descriptor is known; the address is then random at each start.
 */
void mac_default(const char *tap, uint8_t ret_mac[6]);

#endif
