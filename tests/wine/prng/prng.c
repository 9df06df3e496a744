/* bcryptprimitives.dll for Wine 8, which has none: Rust's standard library takes its random
 * numbers from there. For tests only; every Windows has the real one. */
#include <windows.h>

BOOLEAN WINAPI SystemFunction036(void *buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *buffer, SIZE_T length)
{
    return SystemFunction036(buffer, (ULONG)length);
}
