/* What a board brings: its UART, a millisecond clock, and who it is. */
#ifndef UMSA_BOARD_H
#define UMSA_BOARD_H

#include "device.h"

void board_init(void);
void board_write(const uint8_t *octets, size_t len); /* waits for the UART */
void board_wait(void);                               /* until an interrupt */
void board_open_secrets(int open);                   /* 0: whoever touches them is stopped */

/*
 * Identity: device key, boot identity, unit. A product takes the key from its one-time memory and counts boots in
 * flash; emulated boards take both from where the emulator's loader put them (boards/emulated.c, a test hook).
 */
void board_identity(umsa_platform *platform);

/* main.c: from the interrupt that received an octet. */
void main_received(uint8_t octet);
extern volatile uint32_t main_ms; /* the SysTick handler counts */

#endif
