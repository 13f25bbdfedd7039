/* ARM MPS2+ with AN386 (Cortex-M4), UART0: a CMSDK UART of one octet each way. */
#include "cortex_m.h"

#define CLOCK_HZ 25000000u
#define UART(offset) REGISTER(0x40004000u + (offset))
#define DATA UART(0x00)
#define STATE UART(0x04)
#define CONTROL UART(0x08)
#define INTERRUPT UART(0x0c)
#define DIVISOR UART(0x10)
#define TX_FULL 1
#define RX_FULL 2

void board_init(void) {
  DIVISOR = 16;
  CONTROL = 0x0b; /* transmitter, receiver, receive interrupt */
  cortex_m_start(CLOCK_HZ);
}

/* Acknowledge, then drain, as lm3s6965evb.c says. */
void uart_handler(void) {
  INTERRUPT = RX_FULL;
  while (STATE & RX_FULL)
    main_received((uint8_t)DATA);
}

void board_write(const uint8_t *octets, size_t len) {
  for (; len > 0; len--) {
    while (STATE & TX_FULL) {
    }
    DATA = *octets++;
  }
}
