import { useEffect, useState } from 'react'

/** useDraft keeps what somebody writes, in this window, until it is sent: a reload or an ended session loses nothing. */
export function useDraft<T>(key: string, empty: T): [T, (v: T | ((was: T) => T)) => void, () => void] {
  const at = `lanyard.draft.${key}`
  const [value, set] = useState<T>(() => {
    try {
      const kept = sessionStorage.getItem(at)
      return kept ? { ...empty, ...(JSON.parse(kept) as T) } : empty
    } catch {
      return empty
    }
  })
  useEffect(() => {
    try {
      if (JSON.stringify(value) === JSON.stringify(empty)) sessionStorage.removeItem(at)
      else sessionStorage.setItem(at, JSON.stringify(value))
    } catch {
      // a full or forbidden store loses the draft, and nothing else
    }
  }, [at, value]) // eslint-disable-line
  return [value, set, () => (sessionStorage.removeItem(at), set(empty))]
}
