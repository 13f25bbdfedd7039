/* Registers that every Cortex-M has: SysTick, the interrupt controller, and (ARMv7-M) memory protection. */
#ifndef UMSA_CORTEX_M_H
#define UMSA_CORTEX_M_H

#include "board.h"

extern uint32_t link_secrets;

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xe000e010u)
#define SYSTICK_RELOAD REGISTER(0xe000e014u)
#define SYSTICK_VALUE REGISTER(0xe000e018u)
#define NVIC_ENABLE REGISTER(0xe000e100u)

#define MPU_CONTROL REGISTER(0xe000ed94u)
#define MPU_NUMBER REGISTER(0xe000ed98u)
#define MPU_BASE REGISTER(0xe000ed9cu)
#define MPU_REGION REGISTER(0xe000eda0u)
/* ARMv7-M, B3.5: no access, never code, normal memory; the first five eighths of 16 KiB (cortex_m.ld); on. */
#define CLOSED (1u << 28 | 6u << 16 | 0xe0u << 8 | 13u << 1 | 1u)

static inline void cortex_m_start(uint32_t clock_hz) {
  SYSTICK_RELOAD = clock_hz / 1000 - 1;
  SYSTICK_VALUE = 0;
  SYSTICK_CONTROL = 7; /* processor clock, interrupt, on */
  MPU_NUMBER = 0;
  MPU_BASE = (uint32_t)(uintptr_t)&link_secrets;
  MPU_REGION = 0;
  MPU_CONTROL = 5; /* on; elsewhere as without */
  NVIC_ENABLE = 1u << BOARD_UART_IRQ;
  __asm__ volatile("cpsie i");
}

void board_open_secrets(int open) {
  MPU_REGION = open ? 0 : CLOSED;
  __asm__ volatile("dsb\n\tisb" ::: "memory");
}

/* An octet that comes in before WFI makes its interrupt pending, and WFI returns at once. SysTick ends it anyhow. */
void board_wait(void) { __asm__ volatile("wfi"); }

void systick_handler(void);
void systick_handler(void) { main_ms = main_ms + 1; }

void uart_handler(void);

#endif
