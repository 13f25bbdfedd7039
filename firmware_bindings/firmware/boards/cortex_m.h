/* Registers that every Cortex-M has: SysTick and the interrupt controller. */
#ifndef UMSA_CORTEX_M_H
#define UMSA_CORTEX_M_H

#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xe000e010u)
#define SYSTICK_RELOAD REGISTER(0xe000e014u)
#define SYSTICK_VALUE REGISTER(0xe000e018u)
#define NVIC_ENABLE REGISTER(0xe000e100u)

static inline void cortex_m_start(uint32_t clock_hz) {
  SYSTICK_RELOAD = clock_hz / 1000 - 1;
  SYSTICK_VALUE = 0;
  SYSTICK_CONTROL = 7; /* processor clock, interrupt, on */
  NVIC_ENABLE = 1u << BOARD_UART_IRQ;
  __asm__ volatile("cpsie i");
}

/* An octet that comes in before WFI makes its interrupt pending, and WFI returns at once. SysTick ends it anyhow. */
void board_wait(void) { __asm__ volatile("wfi"); }

void systick_handler(void);
void systick_handler(void) { main_ms = main_ms + 1; }

void uart_handler(void);

#endif
