import { useEffect, useRef, useState } from 'react'
import { at } from '../api/client'
import { eventPage, type EventQuery } from '../api/queries'
import type { LedgerEntry } from '../api/types'

/** useLive follows the ledger: what was last, and what comes. Where it breaks off, the browser goes on from the last event it saw. */
export function useLive(q: EventQuery, keep = 40) {
  const key = JSON.stringify(q)
  const [list, setList] = useState<LedgerEntry[]>()
  const [live, setLive] = useState<'connecting' | 'live' | 'away'>('connecting')
  const [error, setError] = useState<Error>()
  const fresh = useRef(new Set<number>())
  useEffect(() => {
    let source: EventSource | undefined
    let ended = false
    setList(undefined)
    setError(undefined)
    fresh.current = new Set()
    const query = JSON.parse(key) as EventQuery
    // First the stream, then the page: what comes between is in both, and none is missed.
    source = new EventSource(at(`v1/ledger/stream?${new URLSearchParams(query as Record<string, string>)}`))
    source.onopen = () => setLive('live')
    source.onerror = () => setLive('away')
    source.onmessage = (m) => {
      const e = JSON.parse(m.data as string) as LedgerEntry
      fresh.current.add(e.index)
      merge([e])
    }
    const merge = (more: LedgerEntry[]) =>
      setList((was = []) => [...more.filter((m) => !was.some((x) => x.index === m.index)), ...was].sort((x, y) => y.index - x.index).slice(0, keep))
    eventPage(query, keep).then(
      (page) => !ended && merge(page.items ?? []),
      (e: Error) => !ended && setError(e),
    )
    return () => {
      ended = true
      source?.close()
    }
  }, [key, keep])
  return { list, live, error, fresh: fresh.current }
}
