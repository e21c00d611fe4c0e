import { Button, Text } from '@mantine/core'
import { IconPlugConnectedX } from '@tabler/icons-react'
import { useEffect, useState, useSyncExternalStore } from 'react'
import { at, isAway, onAway } from '../api/client'
import { client } from '../api/queries'

const every = 4_000 // ms between looks whether it is back

/** Away says on every page that the control plane does not answer, looks whether it is back, and has everything read anew when it is. */
export function Away() {
  const away = useSyncExternalStore(onAway, isAway)
  const [looking, setLooking] = useState(false)
  const look = async () => {
    setLooking(true)
    const back = await fetch(at('readyz'), { cache: 'no-store' }).then((r) => r.ok, () => false)
    setLooking(false)
    if (back) await client.invalidateQueries()
  }
  useEffect(() => {
    if (!away) return
    const t = setInterval(() => void look(), every)
    return () => clearInterval(t)
  }, [away])
  if (!away) return null
  return (
    <div className="away" role="status">
      <IconPlugConnectedX size={18} aria-hidden />
      <Text size="sm" style={{ flex: 1 }}>
        <b>The control plane does not answer.</b> What you see is as it was, and what you write stays here. Gateways go on by themselves for a while.
      </Text>
      <Button size="compact-sm" variant="default" loading={looking} onClick={() => void look()}>
        Try again
      </Button>
    </div>
  )
}
