//! Declared documents and the resources that they and the ledger name.

use std::collections::{BTreeMap, BTreeSet};

use proto::{
    model::{AppliedGeneration, Declared, DeclaredKind, ResourceId},
    wire,
};
use tonic::Status;

use super::{DOCUMENTS_MOST, Service, all, at_most, resource};
use crate::store::{self, declared};

impl Service {
    pub(super) async fn apply_documents(
        &self,
        request: wire::ApplyRequest,
    ) -> Result<wire::ApplyResponse, Status> {
        at_most("documents", request.documents.len(), DOCUMENTS_MOST)?;
        let documents: Vec<Declared> = all(request.documents)?;
        let applied = self.ledger.transact(move |tx| Box::pin(declared::apply(tx, documents))).await?;
        Ok(wire::ApplyResponse { documents: applied.into_iter().map(Into::into).collect() })
    }

    pub(super) async fn list_documents(
        &self,
        request: wire::ListDeclaredRequest,
    ) -> Result<wire::ListDeclaredResponse, Status> {
        let wire::ListDeclaredRequest { kind, name, namespace } = request;
        let kind = if kind == 0 { None } else { Some(DeclaredKind::try_from(kind)?) };
        let mut moment = self.feed.store.moment().await?;
        let revision = store::change::revision(&mut moment).await?;
        let documents = declared::list(&mut moment, &declared::Filter { kind, namespace, name }).await?;
        store::done(moment).await;
        Ok(wire::ListDeclaredResponse {
            documents: documents.into_iter().map(Into::into).collect(),
            revision,
        })
    }

    pub(super) async fn delete_document(
        &self,
        request: wire::DeleteDeclaredRequest,
    ) -> Result<wire::DeleteDeclaredResponse, Status> {
        let wire::DeleteDeclaredRequest { kind, namespace, name } = request;
        let kind = DeclaredKind::try_from(kind)?;
        let deleted =
            self.ledger.transact(move |tx| Box::pin(declared::delete(tx, kind, namespace, name))).await?;
        Ok(wire::DeleteDeclaredResponse { deleted })
    }

    pub(super) async fn list_of_resources(&self) -> Result<wire::ListResourcesResponse, Status> {
        let pool = &self.feed.store.pool;
        let seen = store::resource::list(pool).await?;
        let mut connection = self.connection().await?;
        let services = declared::Filter { kind: Some(DeclaredKind::Service), ..declared::Filter::default() };
        let documents = declared::list(&mut connection, &services).await?;
        drop(connection);
        let declared: BTreeSet<ResourceId> = documents.iter().flat_map(declared::named).collect();
        let mut records: BTreeMap<ResourceId, Vec<wire::AppliedGeneration>> = BTreeMap::new();
        for text in seen {
            records.entry(resource(&text)?).or_default();
        }
        for (resource, generations) in store::record::generations(pool).await? {
            let applied = generations.into_iter().map(|(kind, generation)| {
                AppliedGeneration { resource: resource.clone(), kind, generation }.into()
            });
            records.insert(resource.clone(), applied.collect());
        }
        let resources = records.into_iter().map(|(resource, generations)| wire::ResourceRecord {
            declared: declared.contains(&resource),
            resource: Some(resource.into()),
            generations,
        });
        Ok(wire::ListResourcesResponse { resources: resources.collect() })
    }
}
