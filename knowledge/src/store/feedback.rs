//! Feedback signals: stored in bulk, each once.

use std::collections::HashSet;

use proto::model::FeedbackSignal;
use proto::wire;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::word;
use crate::store::Error;

/// Stores signals of several requests with one statement; tells for each request how many were new.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    requests: &[&[FeedbackSignal]],
) -> Result<Vec<u64>, Error> {
    let all = || requests.iter().flat_map(|signals| signals.iter());
    let ids: Vec<Uuid> = all().map(|signal| signal.id).collect();
    if ids.is_empty() {
        return Ok(vec![0; requests.len()]);
    }
    let loops: Vec<String> = all().map(|signal| signal.feedback_loop.to_string()).collect();
    let resources: Vec<String> = all().map(|signal| signal.resource.to_string()).collect();
    let directives: Vec<Option<Uuid>> = all().map(|signal| signal.directive_id).collect();
    let names: Vec<String> = all().map(|signal| signal.name.clone()).collect();
    let values: Vec<f64> = all().map(|signal| signal.value).collect();
    let at: Vec<i64> = all().map(|signal| signal.at.as_millisecond()).collect();
    // The new ids come back only when some were not new: usually all are.
    let row = sqlx::query!(
        r#"with stored as (
               insert into feedback (id, loop, resource, directive_id, name, value, at)
               select id, loop, resource, directive_id, name, value, from_unix_ms(at)
               from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::float8[], $7::bigint[])
                    as f (id, loop, resource, directive_id, name, value, at)
               on conflict do nothing
               returning id
           )
           select count(*) as "count!", case when count(*) < cardinality($1::uuid[]) then array_agg(id) end as new_ids
           from stored"#,
        &ids,
        &loops,
        &resources,
        &directives as &[Option<Uuid>],
        &names,
        &values,
        &at,
    )
    .fetch_one(connection)
    .await
    .map_err(Error::sql("store feedback signals"))?;
    if row.count == ids.len() as i64 {
        return Ok(requests.iter().map(|signals| signals.len() as u64).collect());
    }
    let mut new: HashSet<Uuid> = row.new_ids.unwrap_or_default().into_iter().collect();
    let taken =
        |signals: &&[FeedbackSignal]| signals.iter().filter(|signal| new.remove(&signal.id)).count() as u64;
    Ok(requests.iter().map(taken).collect())
}

struct Row {
    id: Uuid,
    r#loop: String,
    resource: String,
    directive_id: Option<Uuid>,
    name: String,
    value: f64,
    at: i64,
}

impl Row {
    fn signal(self) -> Result<wire::FeedbackSignal, Error> {
        let feedback_loop: proto::model::FeedbackLoop = word("a feedback loop", &self.r#loop)?;
        let resource: proto::model::ResourceId = word("a feedback signal's resource", &self.resource)?;
        Ok(wire::FeedbackSignal {
            id: self.id.to_string(),
            r#loop: feedback_loop.into(),
            resource: Some(resource.into()),
            directive_id: self.directive_id.map(|id| id.to_string()).unwrap_or_default(),
            name: self.name,
            value: self.value,
            at_unix_ms: self.at,
        })
    }
}

/// Newest first; of one directive or of all.
pub(crate) async fn list(
    pool: &PgPool,
    directive: Option<Uuid>,
    limit: i64,
) -> Result<Vec<wire::FeedbackSignal>, Error> {
    let rows =
        match directive {
            Some(directive) => sqlx::query_as!(
                Row,
                r#"select id, loop, resource, directive_id, name, value, unix_ms(at) as "at!" from feedback
                   where directive_id = $1 order by at desc limit $2"#,
                directive,
                limit,
            )
            .fetch_all(pool)
            .await,
            None => sqlx::query_as!(
                Row,
                r#"select id, loop, resource, directive_id, name, value, unix_ms(at) as "at!" from feedback
                   order by at desc limit $1"#,
                limit,
            )
            .fetch_all(pool)
            .await,
        };
    rows.map_err(Error::sql("list feedback signals"))?.into_iter().map(Row::signal).collect()
}
