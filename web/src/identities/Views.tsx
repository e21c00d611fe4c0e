import { Button, Menu, TextInput } from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { IconBookmark, IconTrash } from '@tabler/icons-react'
import { useState } from 'react'
import type { IdentityQuery } from '../api/types'
import { useMe } from '../app/session'

type View = { name: string; q: IdentityQuery }
const given: View[] = [
  { name: 'Expires soon', q: { needs: 'expiring', sort: 'expires' } },
  { name: 'No working owner', q: { needs: 'ownerless' } },
  { name: 'Not used', q: { needs: 'unused', sort: 'last_used' } },
  { name: 'Stopped', q: { state: 'killed' } },
]

/** Views are searches that somebody comes back to. They are kept in this browser, for each person by themselves; their links can be given to anybody. */
export function Views({ now, onOpen }: { now: IdentityQuery; onOpen: (q: IdentityQuery) => void }) {
  const me = useMe()
  const [own, setOwn] = useLocalStorage<View[]>({ key: `lanyard.views.${me.owner || me.name}`, defaultValue: [] })
  const [name, setName] = useState('')
  const save = () => {
    if (!name.trim()) return
    setOwn([...own.filter((v) => v.name !== name.trim()), { name: name.trim(), q: now }])
    setName('')
  }
  return (
    <Menu width={260} position="bottom-end">
      <Menu.Target>
        <Button variant="default" leftSection={<IconBookmark size={16} />}>
          Views
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {given.map((v) => (
          <Menu.Item key={v.name} onClick={() => onOpen(v.q)}>
            {v.name}
          </Menu.Item>
        ))}
        {own.length > 0 && <Menu.Label>Yours, in this browser</Menu.Label>}
        {own.map((v) => (
          <Menu.Item
            key={v.name}
            onClick={() => onOpen(v.q)}
            rightSection={
              <IconTrash
                size={14}
                role="button"
                aria-label={`Forget ${v.name}`}
                onClick={(e) => (e.stopPropagation(), setOwn(own.filter((o) => o.name !== v.name)))}
              />
            }
          >
            {v.name}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <form style={{ padding: 8 }} onSubmit={(e) => (e.preventDefault(), save())}>
          <TextInput
            size="xs"
            aria-label="Name of this view"
            placeholder="Save what is shown as…"
            value={name}
            maxLength={60}
            onChange={(e) => setName(e.currentTarget.value)}
            onKeyDown={(e) => e.stopPropagation()}
            rightSection={<Button size="compact-xs" variant="subtle" type="submit">Save</Button>}
            rightSectionWidth={56}
          />
        </form>
      </Menu.Dropdown>
    </Menu>
  )
}
