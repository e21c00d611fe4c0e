import { Button, Group, Modal, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { createContext, useContext, useEffect, useRef, useState, type ReactNode } from 'react'
import { consoleBase, holdBehind } from '../api/client'
import { client, me as meQuery, owners, upstreams } from '../api/queries'
import type { Me } from '../api/types'

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

/** Signed has the page within know who is signed in; when the session ends meanwhile, the page stays as it is and asks for a new one on top. */
export function Signed({ me, children }: { me: Me; children: ReactNode }) {
  const [ended, setEnded] = useState(false)
  const waiting = useRef<(() => void)[]>([])
  useEffect(() => {
    holdBehind(() => {
      setEnded(true)
      return new Promise((go) => waiting.current.push(go))
    })
    return () => holdBehind(undefined)
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
    if (reply?.ok) onBack()
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
