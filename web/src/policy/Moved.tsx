import { Alert, Button, Group, SimpleGrid, Stack, Text } from '@mantine/core'
import type { Edit } from '../app/draft'
import { Code } from '../parts/bits'

/** Moved says that what somebody is changing was changed by another meanwhile, and shows both versions. Nothing is saved before one is chosen. */
export function Moved<O, D>({ edit, noun, now, mine }: { edit: Edit<O, D>; noun: string; now: string; mine: string }) {
  if (!edit.moved) return null
  return (
    <Alert color="yellow" variant="light" role="alert" title={edit.now ? `Somebody else has changed this ${noun} since you read it` : `Somebody else has removed this ${noun} since you read it`}>
      <Stack gap="sm">
        <Text size="sm">Nothing is overwritten. Read both, and choose.</Text>
        <SimpleGrid cols={{ base: 1, sm: edit.now ? 2 : 1 }}>
          {edit.now && (
            <section aria-label="As it is now">
              <Text size="sm" fw={600} mb={4}>As it is now</Text>
              <Code text={now} copy={false} label="As it is now" />
            </section>
          )}
          <section aria-label="As you have it">
            <Text size="sm" fw={600} mb={4}>As you have it</Text>
            <Code text={mine} copy={false} label="As you have it" />
          </section>
        </SimpleGrid>
        <Group gap="xs">
          <Button size="xs" variant="default" onClick={edit.onTop}>{edit.now ? 'Keep mine, and go on' : 'Make it anew from mine'}</Button>
          <Button size="xs" variant="default" onClick={edit.forget}>{edit.now ? 'Take theirs' : 'Drop mine'}</Button>
        </Group>
      </Stack>
    </Alert>
  )
}
