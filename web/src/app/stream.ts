import { useEffect, useRef, useState } from 'react'
import { at, Trouble } from '../api/client'
import { eventPage, type EventQuery } from '../api/queries'
import type { LedgerEntry } from '../api/types'

const soonest = 1_000 // ms until a stream that broke off is asked for again, twice that after each further time
const latest = 30_000
const settled = 10_000 // one that held for so long begins with the soonest again

/** useLive follows the ledger: what was last, and what comes. Refused or broken off, it is asked for again, and live says so until it is back. */
export function useLive(q: EventQuery, keep = 40) {
  const key = JSON.stringify(q)
  const [list, setList] = useState<LedgerEntry[]>()
  const [live, setLive] = useState<'connecting' | 'live' | 'away'>('connecting')
  const [error, setError] = useState<Error>()
  const fresh = useRef(new Set<number>())
  const now = useRef(() => {})
  useEffect(() => {
    let source: EventSource | undefined
    let timer: ReturnType<typeof setTimeout> | undefined
    let ended = false
    let tries = 0
    setList(undefined)
    setError(undefined)
    setLive('connecting')
    fresh.current = new Set()
    const query = JSON.parse(key) as EventQuery
    const merge = (more: LedgerEntry[]) =>
      setList((was = []) => {
        const all = [...more.filter((m) => !was.some((x) => x.index === m.index)), ...was].sort((x, y) => y.index - x.index).slice(0, keep)
        const last = all.at(-1)?.index ?? 0
        for (const i of fresh.current) if (i < last) fresh.current.delete(i)
        return all
      })
    // First the stream, then the page: what comes between is in both, and none is missed, also of what came while it was away.
    const connect = () => {
      let since = 0
      source = new EventSource(at(`v1/ledger/stream?${new URLSearchParams(query as Record<string, string>)}`))
      source.onopen = () => {
        since = Date.now()
        setLive('live')
      }
      source.onmessage = (m) => {
        const e = JSON.parse(m.data as string) as LedgerEntry
        fresh.current.add(e.index)
        merge([e])
      }
      source.onerror = () => {
        source?.close()
        if (ended) return
        setLive('away')
        if (since && Date.now() - since > settled) tries = 0
        clearTimeout(timer)
        timer = setTimeout(connect, Math.min(latest, soonest * 2 ** tries++) * (0.75 + Math.random() / 4))
      }
      eventPage(query, keep).then(
        (page) => !ended && (setError(undefined), merge(page.items ?? [])),
        (e: Error) => {
          if (ended) return
          setError(e)
          if (e instanceof Trouble && e.status === 403) { // and will be: asking again makes no difference
            source?.close()
            clearTimeout(timer)
            ended = true
          }
        },
      )
    }
    now.current = () => {
      source?.close()
      clearTimeout(timer)
      tries = 0
      if (!ended) connect()
    }
    connect()
    return () => {
      ended = true
      clearTimeout(timer)
      source?.close()
    }
  }, [key, keep])
  return { list, live, error, fresh: fresh.current, again: () => now.current() }
}
