/* Cortex-M reset: vectors, data and bss. Board files define handlers by the names in VECTORS. */
#include <stdint.h>
#include <string.h>

#define IRQS 8

extern uint32_t link_secrets, link_secrets_end;
extern uint32_t link_data_load, link_data, link_data_end, link_bss, link_bss_end, link_stack;
extern int main(void);

void reset_handler(void);
void systick_handler(void);
void uart_handler(void);

__attribute__((noreturn)) static void stop(void) {
  for (;;) {
  }
}

void reset_handler(void) {
  memcpy(&link_data, &link_data_load, (size_t)((uint8_t *)&link_data_end - (uint8_t *)&link_data));
  memset(&link_bss, 0, (size_t)((uint8_t *)&link_bss_end - (uint8_t *)&link_bss));
  memset(&link_secrets, 0, (size_t)((uint8_t *)&link_secrets_end - (uint8_t *)&link_secrets));
  main();
  stop();
}

typedef union vector {
  void (*handler)(void);
  void *stack;
} vector;

__attribute__((section(".vectors"), used)) static const vector VECTORS[16 + IRQS] = {
    [0] = {.stack = &link_stack},
    [1] = {.handler = reset_handler},
    [2] = {.handler = stop},
    [3] = {.handler = stop},
    [4] = {.handler = stop},
    [5] = {.handler = stop},
    [6] = {.handler = stop},
    [15] = {.handler = systick_handler},
    [16 + BOARD_UART_IRQ] = {.handler = uart_handler},
};
