import { Tooltip } from '@mantine/core'
import { useSyncExternalStore } from 'react'

// One clock for all times on the page.
let now = Date.now()
const listeners = new Set<() => void>()
setInterval(() => {
  now = Date.now()
  listeners.forEach((f) => f())
}, 10_000)
const subscribe = (f: () => void) => (listeners.add(f), () => void listeners.delete(f))
export const useNow = () => useSyncExternalStore(subscribe, () => now)

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'long' })
const steps: [Intl.RelativeTimeFormatUnit, number][] = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3_600], ['minute', 60]]

export function ago(at: number, from: number): string {
  const s = (at - from) / 1000
  for (const [unit, n] of steps) if (Math.abs(s) >= n) return relative.format(Math.trunc(s / n), unit)
  return s > 5 ? `in ${Math.round(s)} seconds` : 'just now'
}

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' })
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' })
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone

/** When is a moment as people say it, in the viewer's zone; the exact instant is one hover or focus away. */
export function When({ at, as = 'ago', none = 'never' }: { at?: string | number; as?: 'ago' | 'day' | 'clock' | 'full'; none?: string }) {
  const t = useNow()
  const d = new Date(at ?? NaN)
  if (at === undefined || Number.isNaN(d.getTime()) || d.getTime() < 0) return <span className="dim">{none}</span>
  const said = as === 'ago' ? ago(d.getTime(), Math.max(t, Date.now() - 10_000)) : as === 'day' ? day.format(d) : as === 'clock' ? clock.format(d) : full.format(d)
  return (
    <Tooltip label={`${full.format(d)} ${zone} · ${typeof at === 'string' ? at : d.toISOString()}`}>
      <time dateTime={d.toISOString()} className="num" style={{ whiteSpace: 'nowrap' }}>
        {said}
      </time>
    </Tooltip>
  )
}
