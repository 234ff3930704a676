
#include "window.h"


sluice_u128_t
sluice_window_add(sluice_u128_t v, uint64_t now, uint32_t window, uint32_t n)
{
    uint32_t         sum;
    sluice_window_t  seen;

    (void) sluice_window_decide(v, now, window, 0, 0, &seen);

    sum = seen.current + n;
    sum = (sum < SLUICE_UNITS_MASK) ? sum : SLUICE_UNITS_MASK;

    return sluice_slot_pack(sluice_slot_tag(v), seen.index, seen.previous,
                            sum);
}


sluice_u128_t
sluice_window_refund(sluice_u128_t v, const sluice_window_t *seen, uint32_t n)
{
    uint32_t  previous, current;

    previous = sluice_slot_previous(v);
    current = sluice_slot_current(v);

    if (sluice_slot_index(v) == seen->index) {
        current -= (n < current) ? n : current;

    } else if (sluice_slot_index(v) == seen->index + 1) {
        previous -= (n < previous) ? n : previous;
    }

    return sluice_slot_pack(sluice_slot_tag(v), sluice_slot_index(v), previous,
                            current);
}


uint64_t
sluice_window_retry(uint32_t window, const sluice_window_t *seen,
    uint32_t max, uint32_t n)
{
    uint64_t  w, room, wait;

    if (n > max) {
        return UINT64_MAX;
    }

    w = window;
    room = max - n;

    if (seen->current <= room) {

        /* in this window, when previous * (w - e) <= (room - current) * w */

        if (seen->previous == 0) {
            return 0;
        }

        wait = (room - seen->current) * w / seen->previous;
        wait = (wait >= w) ? 0 : w - wait;

        return (wait > seen->elapsed) ? wait - seen->elapsed : 0;
    }

    /* in the next one, where what is current now is previous */

    wait = room * w / seen->current;
    wait = (wait >= w) ? 0 : w - wait;

    return w - seen->elapsed + wait;
}


uint32_t
sluice_window_used(uint32_t window, const sluice_window_t *seen)
{
    uint64_t  part;

    part = (uint64_t) seen->previous * (window - seen->elapsed);

    return seen->current + (uint32_t) (part / window + (part % window != 0));
}


uint64_t
sluice_window_reset(uint32_t window, const sluice_window_t *seen)
{
    if (seen->current != 0) {
        return 2 * (uint64_t) window - seen->elapsed;
    }

    return (seen->previous != 0) ? window - seen->elapsed : 0;
}
