import { Button, Menu, Text, TextInput } from '@mantine/core'
import { IconBookmark, IconTrash } from '@tabler/icons-react'
import { useState } from 'react'
import type { IdentityQuery } from '../api/types'
import { useViews, type View } from './views'

const given: View[] = [
  { name: 'Expires soon', q: { needs: 'expiring', sort: 'expires' } },
  { name: 'No working owner', q: { needs: 'ownerless' } },
  { name: 'Not used', q: { needs: 'unused', sort: 'last_used' } },
  { name: 'Stopped', q: { state: 'killed' } },
]

/** Views are searches that somebody comes back to. They are kept for the person; their links can be given to anybody. */
export function Views({ now, onOpen }: { now: IdentityQuery; onOpen: (q: IdentityQuery) => void }) {
  const { own, change, error } = useViews()
  const [name, setName] = useState('')
  const save = () => {
    if (!name.trim()) return
    change.mutate({ name: name.trim(), q: now }, { onSuccess: () => setName('') })
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
        {own.length > 0 && <Menu.Label>Yours</Menu.Label>}
        {own.map((v) => (
          <Menu.Item
            key={v.name}
            onClick={() => onOpen(v.q)}
            rightSection={
              <IconTrash
                size={14}
                role="button"
                aria-label={`Forget ${v.name}`}
                onClick={(e) => (e.stopPropagation(), change.mutate({ name: v.name }))}
              />
            }
          >
            {v.name}
          </Menu.Item>
        ))}
        <Menu.Divider />
        {error && <Text size="sm" className="bad" px="sm" role="alert">{error.message}</Text>}
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
