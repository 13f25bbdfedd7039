/* Stellaris LM3S6965 (Cortex-M3), UART0: a PL011 with FIFOs of 16 octets. */
#include "cortex_m.h"

#define CLOCK_HZ 12000000u
#define SYSCTL_RCGC1 REGISTER(0x400fe104u)
#define UART(offset) REGISTER(0x4000c000u + (offset))
#define DATA UART(0x00)
#define FLAGS UART(0x18)
#define LINE UART(0x2c)
#define CONTROL UART(0x30)
#define MASK UART(0x38)
#define CLEAR UART(0x44)
#define RX_EMPTY 0x10
#define TX_EMPTY 0x80
#define TX_FIFO 16
#define RX_INTERRUPTS 0x50 /* level, timeout */

void board_init(void) {
  SYSCTL_RCGC1 |= 1;
  LINE = 0x70; /* 8N1, FIFOs */
  CONTROL = 0x301;
  MASK = RX_INTERRUPTS;
  cortex_m_start(CLOCK_HZ);
}

/* Acknowledge, then drain: the other way round, an octet between the two would never be announced. */
void uart_handler(void) {
  CLEAR = RX_INTERRUPTS;
  while (!(FLAGS & RX_EMPTY))
    main_received((uint8_t)DATA);
}

void board_write(const uint8_t *octets, size_t len) {
  for (; len >= TX_FIFO; octets += TX_FIFO, len -= TX_FIFO) {
    while (!(FLAGS & TX_EMPTY)) { /* the shift register still has an octet: the line does not idle */
    }
    for (size_t i = 0; i < TX_FIFO; i += 4) {
      DATA = octets[i];
      DATA = octets[i + 1];
      DATA = octets[i + 2];
      DATA = octets[i + 3];
    }
  }
  while (!(FLAGS & TX_EMPTY)) {
  }
  for (; len > 0; len--)
    DATA = *octets++;
}
