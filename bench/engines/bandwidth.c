/* Reads memory: the bandwidth that one thread has. */
#include <stdint.h>
#include <string.h>

#define CHAINS 8
typedef float vector __attribute__((vector_size(32)));

/* The sum of n floats, n a multiple of 64. */
float tw_read(const float *p, int64_t n);
float tw_read(const float *p, int64_t n) {
  vector sums[CHAINS] = {{0}};
  for (int64_t i = 0; i < n; i += CHAINS * 8) {
    for (int k = 0; k < CHAINS; k++) {
      vector v;
      memcpy(&v, p + i + k * 8, sizeof v);
      sums[k] += v;
    }
  }
  float sum = 0;
  for (int k = 0; k < CHAINS; k++)
    for (int j = 0; j < 8; j++) sum += sums[k][j];
  return sum;
}
