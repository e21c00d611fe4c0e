import { Button, Group, Modal, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { createContext, useContext, useEffect, useRef, useState, type ReactNode } from 'react'
import { ask, at, consoleBase, holdBehind } from '../api/client'
import { client, me as meQuery, owners, upstreams } from '../api/queries'
import type { Me } from '../api/types'
import { dropDrafts } from './draft'

const Person = createContext<Me | null>(null)
/** useMe is who is signed in. */
export function useMe(): Me {
  const m = useContext(Person)
  if (!m) throw new Error('nobody is signed in')
  return m
}
/** useMay says whether the person may do an operation on something at all. The API is what decides, each time. */
export function useMay() {
  const m = useMe()
  return (operation: string) => m.may.includes(operation)
}

/** useMayTo says whether the person may do an operation on what is this owner's. */
export function useMayTo(owner?: string) {
  const m = useMe()
  const team = useQuery({ ...owners, enabled: !!owner && owner !== m.owner }).data?.items?.find((o) => o.id === owner)
  const theirs = !!m.owner && (owner === m.owner || !!team?.members?.includes(m.owner))
  return (operation: string) => m.may_to_all.includes(operation) || (theirs && m.may.includes(operation))
}
/** useMayGrant says whether the person may say what may be done on some upstream: on all, or on those of theirs. */
export function useMayGrant() {
  const m = useMe()
  const own = useQuery({ ...upstreams, enabled: m.may.includes('put-grant') && !m.may_to_all.includes('put-grant') }).data?.items?.some((u) => u.owner === m.owner)
  return m.may_to_all.includes('put-grant') || (m.may.includes('put-grant') && !!own)
}

let here: string | undefined // whose this page is
const person = (m: Me) => m.owner || `${m.name} ${m.email ?? ''}`

/**
 * arrives has a person come to this page, and is false when it is another's. What was written here and read here is of one person:
 * who signs in after them finds nothing of it.
 */
export function arrives(m: Me): boolean {
  const who = person(m)
  if (here === undefined) {
    here = who
    if ((sessionStorage.getItem('lanyard.person') ?? who) !== who) dropDrafts()
    sessionStorage.setItem('lanyard.person', who)
    localStorage.setItem('lanyard.person', who) // which other windows hear of
  }
  return here === who
}

/** signOut ends the session, or all that the person has, and leaves nothing of them in this window. */
export async function signOut(everywhere: boolean) {
  await ask('POST', 'console/sign-out', { everywhere })
  dropDrafts()
  window.location.assign(at('console/sign-in'))
}

/** Signed has the page within know who is signed in; when the session ends meanwhile, the page stays as it is and asks for a new one on top. */
export function Signed({ me, children }: { me: Me; children: ReactNode }) {
  const [ended, setEnded] = useState(false)
  const waiting = useRef<(() => void)[]>([])
  useEffect(() => {
    holdBehind(() => {
      setEnded(true)
      return new Promise((go) => waiting.current.push(go))
    })
    const other = (e: StorageEvent) => e.key === 'lanyard.person' && e.newValue !== here && window.location.reload()
    const back = (e: PageTransitionEvent) => e.persisted && window.location.reload() // the browser had kept the page as it was
    window.addEventListener('storage', other)
    window.addEventListener('pageshow', back)
    return () => {
      holdBehind(undefined)
      window.removeEventListener('storage', other)
      window.removeEventListener('pageshow', back)
    }
  }, [])
  return (
    <Person.Provider value={me}>
      {children}
      {ended && (
        <Ended
          onBack={() => {
            setEnded(false)
            waiting.current.splice(0).forEach((go) => go())
            void client.invalidateQueries({ queryKey: ['me'] })
          }}
        />
      )}
    </Person.Provider>
  )
}

function Ended({ onBack }: { onBack: () => void }) {
  const [still, setStill] = useState(false)
  const look = async (say: boolean) => {
    const reply = await fetch(new URL('../v1/me', consoleBase)).catch(() => undefined)
    if (reply?.ok && person((await reply.json()) as Me) !== here) window.location.reload() // and what waits is not sent in another's name
    else if (reply?.ok) onBack()
    else if (say) setStill(true)
  }
  useEffect(() => {
    const f = () => void look(false)
    window.addEventListener('focus', f)
    const t = setInterval(f, 3000)
    return () => (window.removeEventListener('focus', f), clearInterval(t))
  })
  return (
    <Modal opened onClose={() => {}} withCloseButton={false} title="Your session has ended" zIndex={400} closeOnEscape={false} closeOnClickOutside={false}>
      <Stack>
        <Text>Sign in again in the other window. This page stays as it is, and what you were doing goes on.</Text>
        {still && (
          <Text size="sm" className="note" role="status">
            Not yet: nobody is signed in.
          </Text>
        )}
        <Group>
          <Button component="a" href={new URL('sign-in?to=done', consoleBase).href} target="_blank" rel="opener">
            Sign in
          </Button>
          <Button variant="default" onClick={() => void look(true)}>
            I have signed in
          </Button>
        </Group>
      </Stack>
    </Modal>
  )
}

export const useSession = () => useQuery(meQuery)
