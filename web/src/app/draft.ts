import { useEffect, useState } from 'react'

const prefix = 'lanyard.draft.'

function kept<T>(at: string, empty: T): T {
  try {
    const text = sessionStorage.getItem(at)
    return text ? { ...empty, ...(JSON.parse(text) as T) } : empty
  } catch {
    return empty
  }
}

/** useDraft keeps what somebody writes, in this window, until it is sent: a reload or an ended session loses nothing. Another key is another draft. */
export function useDraft<T>(key: string, empty: T): [T, (v: T | ((was: T) => T)) => void, () => void] {
  const at = prefix + key
  const [state, put] = useState(() => ({ at, value: kept(at, empty) }))
  const now = state.at === at ? state : { at, value: kept(at, empty) }
  if (now !== state) put(now)
  useEffect(() => {
    try {
      if (JSON.stringify(now.value) === JSON.stringify(empty)) sessionStorage.removeItem(now.at)
      else sessionStorage.setItem(now.at, JSON.stringify(now.value))
    } catch {
      // a full or forbidden store loses the draft, and nothing else
    }
  }, [now.at, now.value]) // eslint-disable-line
  const set = (v: T | ((was: T) => T)) => put((was) => ({ at, value: typeof v === 'function' ? (v as (was: T) => T)(was.at === at ? was.value : kept(at, empty)) : v }))
  return [now.value, set, () => (sessionStorage.removeItem(at), set(empty))]
}

export type Edit<O, D> = {
  d: D
  was: O | null // what there was when the draft was begun; null for nothing
  now: O | null
  moved: boolean // it is otherwise by now
  set: (d: D) => void
  onTop: () => void // the draft is for what there is now
  forget: () => void
}

/** useEdit is a draft of a change to what is there. It remembers what that was, so that what somebody else changes meanwhile is seen before it is replaced. */
export function useEdit<O, D>(key: string, there: O | undefined, from: (o: O | undefined) => D): Edit<O, D> {
  const now = there ?? null
  const [kept, set, forget] = useDraft<{ was: O | null; d: D | null }>(key, { was: null, d: null })
  const d = kept.d ?? from(there)
  const was = kept.d === null ? now : kept.was
  return { d, was, now, moved: JSON.stringify(was) !== JSON.stringify(now), set: (d) => set({ was, d }), onTop: () => set({ was: now, d }), forget }
}

/** dropDrafts forgets all that somebody wrote in this window. */
export function dropDrafts() {
  for (const k of Object.keys(sessionStorage)) if (k.startsWith(prefix)) sessionStorage.removeItem(k)
}
